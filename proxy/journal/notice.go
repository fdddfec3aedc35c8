package journal

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// A Notice is the JSON form of an Event, for other programs. Text from a peer is as
// Printable returns it: in printable ASCII, quoted if necessary. The JSON omits fields
// that are zero.
type Notice struct {
	// Kind is Began, Said, Ended or Lost. A Notice of the kind Lost only has the
	// number of lost events.
	Kind   string `json:"kind"`
	ID     string `json:"id,omitempty"`    // the session's ID, as in the log
	Route  string `json:"route,omitempty"` // the route's name
	Client string `json:"client,omitempty"`
	// At is the time at which the session began or ended, or the line was said.
	At time.Time `json:"at,omitzero"`

	// The fields from Side to Rule are set only if Kind is Said.

	Side string `json:"side,omitempty"` // "C" or "S"; an event has none
	// Mark is ":" if the line was passed on as it was said, "-" if it was said and
	// not delivered, "+" if it was delivered and not said, and "~" for an event.
	Mark string `json:"mark,omitempty"`
	Text string `json:"text,omitempty"` // the line without CRLF
	// Rule has the names of the rules, or of other causes such as client_tls, that
	// changed the line, separated by commas.
	Rule string `json:"rule,omitempty"`

	// The fields from Outcome to Causes are set only if Kind is Ended.

	Outcome  vocabulary.Outcome `json:"outcome,omitempty"`
	Server   string             `json:"server,omitempty"`
	Hello    string             `json:"hello,omitempty"`
	Messages int                `json:"messages,omitempty"` // messages accepted
	// Octets is the size of all messages, accepted or not.
	Octets int64          `json:"octets,omitempty"`
	Rules  map[string]int `json:"rules,omitempty"` // how often each rule acted
	// Would has the rules that the route only observes, by name, and how often
	// each would have acted.
	Would     map[string]int `json:"would,omitempty"`
	ClientTLS string         `json:"client_tls,omitempty"`
	ServerTLS string         `json:"server_tls,omitempty"`
	// ClientAuth is the mechanism by which the client logged in. ServerAuth is the
	// mechanism by which the client, or smtpshim for it, logged in at the server.
	ClientAuth vocabulary.Mechanism `json:"client_auth,omitempty"`
	ServerAuth vocabulary.Mechanism `json:"server_auth,omitempty"`
	// Products are the products that the session recognised.
	Products []Product `json:"products,omitempty"`
	Refused  *Refusal  `json:"refused,omitempty"`
	// While is what the session was doing at its end, such as "waiting for a
	// command".
	While   string  `json:"while,omitempty"`
	Err     string  `json:"err,omitempty"` // what went wrong
	Seconds float64 `json:"seconds,omitempty"`
	// Causes are the known reasons why the session failed or a recipient was
	// refused, the likeliest first. Event.Notice does not set Causes, but its
	// caller may.
	Causes []Cause `json:"causes,omitempty"`

	Lost int `json:"lost,omitempty"` // number of events that the watcher has missed
}

// A Cause is a reason for which a session failed or a recipient was refused. It
// contains no text from a peer.
type Cause struct {
	Rule   string `json:"rule,omitempty"` // the rule that heals it; "": none
	Means  string `json:"means"`
	Do     string `json:"do"`               // what to do about it
	Source string `json:"source,omitempty"` // where this reason is documented
	Guess  bool   `json:"guess,omitempty"`  // perhaps this is not the reason
}

// A Product is the JSON form of a rewrite.Product: a product that a session recognised.
type Product struct {
	Name string          `json:"name"`
	By   vocabulary.Sign `json:"by"` // the sign by which it was recognised
}

// productsOf converts products for other programs.
func productsOf(products []rewrite.Product) (list []Product) {
	for _, p := range products {
		list = append(list, Product(p))
	}
	return list
}

// A Refusal is the JSON form of a proxy.Refusal: the reply by which mail was refused.
type Refusal struct {
	Verb string `json:"verb"`
	Code int    `json:"code"`
	Text string `json:"text,omitempty"` // as Printable returns it

	Means string `json:"means,omitempty"` // what it means, if that is known
	Do    string `json:"do,omitempty"`    // what to do about it
}

// String returns r in one line: Verb, Code and Text. Means and Do follow, unless Means
// is "".
func (r Refusal) String() string {
	line := strings.TrimSpace(fmt.Sprintf("%s: %d %s", r.Verb, r.Code, r.Text))
	if r.Means != "" {
		line += " (" + r.Means + "; what to do: " + r.Do + ")"
	}
	return line
}

// refusalOf converts a refusal for other programs; nil if mail was not refused.
func refusalOf(r proxy.Refusal) *Refusal {
	if r.Code == 0 {
		return nil
	}
	return &Refusal{r.Verb, r.Code, Printable(r.Text), r.Means, r.Do}
}

// Notice returns e as a Notice, without Causes.
func (e Event) Notice() Notice {
	if e.Kind == Lost {
		return Notice{Kind: Lost, Lost: e.Lost}
	}
	n := Notice{Kind: e.Kind, ID: e.Entry.ID, Route: e.Entry.Route, At: e.Entry.Began}
	if e.Entry.Client.IsValid() {
		n.Client = Printable(e.Entry.Client.String()) // a zone may contain anything
	}
	switch e.Kind {
	case Said:
		l := e.Line
		n.At, n.Mark, n.Text, n.Rule = n.At.Add(l.After), "~", Printable(l.Text), l.Rule
		if l.Side != 0 {
			n.Side, n.Mark = string(rune(l.Side)), string(rune(l.Mark))
		}
	case Ended:
		end := e.Entry.End
		n.At = n.At.Add(end.Lasted)
		n.Outcome, n.Server, n.Hello, n.Messages, n.Octets = end.Outcome, end.Server, Printable(end.Hello), end.Messages, end.Octets
		n.Rules, n.ClientTLS, n.ServerTLS, n.While, n.Err = end.Rules, end.ClientTLS, end.ServerTLS, end.While, Printable(end.Err)
		n.Would = end.Would.Counts()
		n.ClientAuth, n.ServerAuth = end.ClientAuth, end.ServerAuth
		n.Refused, n.Products = refusalOf(end.Refused), productsOf(end.Products)
		n.Seconds = end.Lasted.Seconds()
	}
	return n
}

// MarshalJSON returns the Notice of e as JSON.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.Notice()) }

// Line returns the line of the dialogue that n is about, with its text unquoted. n.Kind
// must be Said.
func (n Notice) Line() transcript.Line {
	l := transcript.Line{Text: n.Text, Rule: n.Rule}
	if text, err := strconv.Unquote(n.Text); err == nil && n.Text[0] == '"' {
		l.Text = text
	}
	if len(n.Side) == 1 && len(n.Mark) == 1 {
		l.Side, l.Mark = transcript.Side(n.Side[0]), transcript.Mark(n.Mark[0])
	}
	return l
}

// Printable returns text, which a peer has sent, in printable ASCII, as a transcript
// has it. If text has other octets, begins with a quotation mark or ends with a blank,
// Printable quotes it, as [strconv.QuoteToASCII] does. Otherwise text stays as it is.
func Printable(text string) string {
	if text == "" {
		return ""
	}
	return transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text}.String()[len("C: "):]
}

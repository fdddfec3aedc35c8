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

// A Notice is the JSON form of an Event, for other programs. Text from a peer is in the
// form of a transcript: printable ASCII, quoted as Go does if necessary. Fields that do
// not apply are omitted.
type Notice struct {
	// Kind is "began", "line", "ended" or "lost". A "lost" Notice has no other field
	// than Lost.
	Kind   string    `json:"kind"`
	ID     string    `json:"id,omitempty"`    // the session's ID, as in the log
	Route  string    `json:"route,omitempty"` // the route's name
	Client string    `json:"client,omitempty"`
	At     time.Time `json:"at,omitzero"` // when it happened

	// These fields are set if Kind is "line".
	Side string `json:"side,omitempty"` // "C" or "S"; an event has none
	// Mark is the mark of package transcript, ":", "-" or "+"; "~" for an event.
	Mark string `json:"mark,omitempty"`
	Text string `json:"text,omitempty"` // without CRLF; omitted if empty
	// Rule has the names of the rules that changed the line, separated by commas.
	Rule string `json:"rule,omitempty"`

	// These fields are set if Kind is "ended".
	Outcome  vocabulary.Outcome `json:"outcome,omitempty"`
	Server   string             `json:"server,omitempty"`
	Hello    string             `json:"hello,omitempty"`
	Messages int                `json:"messages,omitempty"` // messages accepted
	Octets   int64              `json:"octets,omitempty"`   // size of all messages
	Rules    map[string]int     `json:"rules,omitempty"`    // how often each rule acted
	// Would has, by rule, how often each rule of proxy.Route.Observed would have acted.
	Would     map[string]int `json:"would,omitempty"`
	ClientTLS string         `json:"client_tls,omitempty"`
	ServerTLS string         `json:"server_tls,omitempty"`
	// ClientAuth is the mechanism by which the client logged in. ServerAuth is the
	// mechanism by which the client, or smtpshim for it, logged in at the server.
	ClientAuth vocabulary.Mechanism `json:"client_auth,omitempty"`
	ServerAuth vocabulary.Mechanism `json:"server_auth,omitempty"`
	Products   []Product            `json:"products,omitempty"` // recognised products
	Refused    *Refusal             `json:"refused,omitempty"`
	While      string               `json:"while,omitempty"` // what the session was doing
	Err        string               `json:"err,omitempty"`   // what went wrong
	Seconds    float64              `json:"seconds,omitempty"`
	// Causes are the reasons for which the session failed or a recipient was refused, as
	// far as they are known, the likeliest first. The caller of Notice sets them.
	Causes []Cause `json:"causes,omitempty"`

	Lost int `json:"lost,omitempty"` // number of events that the reader has missed
}

// A Cause is a reason for a failure. It contains no text from a peer.
type Cause struct {
	Rule   string `json:"rule,omitempty"` // the rule that heals the failure
	Means  string `json:"means"`
	Do     string `json:"do"`               // what to do about it
	Source string `json:"source,omitempty"` // where this reason is documented
	Guess  bool   `json:"guess,omitempty"`  // the failure may have another reason
}

// A Product is a rewrite.Product for other programs.
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

// A Refusal is a proxy.Refusal for other programs.
type Refusal struct {
	Verb string `json:"verb"`
	Code int    `json:"code"`
	Text string `json:"text,omitempty"` // quoted if necessary

	Means string `json:"means,omitempty"` // what it means, if that is known
	Do    string `json:"do,omitempty"`    // what to do about it
}

// String returns the refusal in one line: the verb, the code and the text, followed by
// what it means and what to do if that is known.
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

// Notice returns the Notice for e, without Causes.
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

// Line returns the line of the dialogue that n is about, as it was said. n must be of the
// kind "line".
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

// Printable returns text, which a peer has sent, in the form of a transcript: in printable
// ASCII, quoted as Go does if necessary. "" stays "".
func Printable(text string) string {
	if text == "" {
		return ""
	}
	return transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text}.String()[len("C: "):]
}

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

// A Notice is an Event for other programs, as JSON has it. What a peer said is in
// it as a transcript has it: printable ASCII, quoted as Go does where it was not.
// What does not apply is left out.
type Notice struct {
	Kind   string    `json:"kind"`            // "began", "line", "ended", or "lost", which has Lost alone
	ID     string    `json:"id,omitempty"`    // of the session, as in the log
	Route  string    `json:"route,omitempty"` // its name
	Client string    `json:"client,omitempty"`
	At     time.Time `json:"at,omitzero"` // when it happened

	// Of "line".
	Side string `json:"side,omitempty"` // "C" or "S"; an event has none
	Mark string `json:"mark,omitempty"` // ":", "-", "+", or "~" for an event
	Text string `json:"text,omitempty"` // without CRLF; an empty line is left out
	Rule string `json:"rule,omitempty"` // that changed it

	// Of "ended".
	Outcome    vocabulary.Outcome   `json:"outcome,omitempty"`
	Server     string               `json:"server,omitempty"`
	Hello      string               `json:"hello,omitempty"`
	Messages   int                  `json:"messages,omitempty"` // accepted
	Octets     int64                `json:"octets,omitempty"`   // of messages
	Rules      map[string]int       `json:"rules,omitempty"`    // how often each acted
	Would      map[string]int       `json:"would,omitempty"`    // how often each observed rule would have acted
	ClientTLS  string               `json:"client_tls,omitempty"`
	ServerTLS  string               `json:"server_tls,omitempty"`
	ClientAuth vocabulary.Mechanism `json:"client_auth,omitempty"` // by which somebody logged in
	ServerAuth vocabulary.Mechanism `json:"server_auth,omitempty"`
	Products   []Product            `json:"products,omitempty"` // that were recognised
	Refused    *Refusal             `json:"refused,omitempty"`
	While      string               `json:"while,omitempty"` // what was being done
	Err        string               `json:"err,omitempty"`   // what went wrong
	Seconds    float64              `json:"seconds,omitempty"`
	// Causes is why the session failed, or a recipient was refused, the surest cause
	// first, as far as that is known. Whoever makes the notice puts it in.
	Causes []Cause `json:"causes,omitempty"`

	Lost int `json:"lost,omitempty"` // events that the reader has missed
}

// A Cause is what is known of a failure. No peer has said any of it.
type Cause struct {
	Rule   string `json:"rule,omitempty"` // that heals it
	Means  string `json:"means"`
	Do     string `json:"do"`               // what heals it
	Source string `json:"source,omitempty"` // who says so
	Guess  bool   `json:"guess,omitempty"`  // it may be something else
}

// A Product is a rewrite.Product for other programs.
type Product struct {
	Name string          `json:"name"`
	By   vocabulary.Sign `json:"by"` // what has told
}

// productsOf gives products for other programs.
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
	Text string `json:"text,omitempty"` // quoted like all that a peer said

	Means string `json:"means,omitempty"` // what it means, where that is known
	Do    string `json:"do,omitempty"`    // what to do about it
}

// String gives the refusal in one line.
func (r Refusal) String() string {
	line := strings.TrimSpace(fmt.Sprintf("%s: %d %s", r.Verb, r.Code, r.Text))
	if r.Means != "" {
		line += " (" + r.Means + "; what to do: " + r.Do + ")"
	}
	return line
}

// refusalOf gives what was refused for other programs; nil if nothing was.
func refusalOf(r proxy.Refusal) *Refusal {
	if r.Code == 0 {
		return nil
	}
	return &Refusal{r.Verb, r.Code, Printable(r.Text), r.Means, r.Do}
}

// Notice is the event for other programs.
func (e Event) Notice() Notice {
	if e.Kind == Lost {
		return Notice{Kind: Lost, Lost: e.Lost}
	}
	n := Notice{Kind: e.Kind, ID: e.Entry.ID, Route: e.Entry.Route, At: e.Entry.Began}
	if e.Entry.Client.IsValid() {
		n.Client = Printable(e.Entry.Client.String()) // a zone may be anything
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

// MarshalJSON gives the event's Notice.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.Notice()) }

// Line is the line of a notice of that kind, as it was said.
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

// Printable is what a peer said as a transcript has it: in printable ASCII, and
// quoted as Go does if it was anything else. "" stays so.
func Printable(text string) string {
	if text == "" {
		return ""
	}
	return transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: text}.String()[len("C: "):]
}

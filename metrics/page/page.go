// Package page is the status page of the admin listener. The page shows the last
// sessions, with the client's and the server's lines side by side. For sessions that
// failed it shows why, and what to do about that. It also shows problems that need
// attention, and the state of routes, servers, rules and certificates.
//
// The page is HTML that loads nothing from other hosts. A small script updates the
// page, which also works without the script. Text from a peer is shown in printable
// ASCII, with other octets quoted as in transcripts.
package page

import (
	"bytes"
	"embed"
	"html/template"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
	"smtpshim/rewrite/vocabulary"
)

// A Source provides what the page shows. Requests call its functions, which must be
// safe for concurrent use.
type Source struct {
	Version string
	// Rule describes what can change a line: a rule, or a setting such as client_tls.
	// name is in Route.Rules, or one of the names in Line.Rule. If name is unknown,
	// Rule returns the zero Rule, and the page says "The configuration has it so."
	Rule func(name string) Rule
	// Ready returns nil if the program takes sessions and has servers for them, and
	// otherwise the reasons.
	Ready        func() error
	Gatherer     prometheus.Gatherer
	Routes       func() []Route
	Servers      func() []metrics.Server
	Certificates func() []metrics.Certificate
	Events       http.Handler      // a Stream of what happens in sessions
	Observed     func() []Observed // nil: no rule is observed
	Evidence     http.Handler      // serves the evidence as JSON; nil: not served

	// FailedReloads returns the failed reloads of the configuration and of
	// certificates, except those that a successful reload has followed.
	FailedReloads func() []FailedReload

	// Sessions returns the last sessions, newest first. Recording returns the recording
	// of the session whose ID is session: its file name and its text. Recording returns
	// an error if there is no recording.
	Sessions  func() []Session
	Recording func(session string) (name string, text []byte, err error)

	// Replay plays the recording of the session whose ID is session. The page offers
	// this for a session that has a recording and Session.Replays set. Only one call
	// runs at a time. If Replay is nil, recordings cannot be played.
	Replay func(session string) (Replay, error)

	// AnyHost serves the page under any host name. That is safe only if a password
	// protects the page. If AnyHost is false, the page is served only under an IP address
	// or localhost, so that no website can read it through a name of its own (DNS
	// rebinding).
	AnyHost bool
}

// A Rule describes a rule, or another cause of changed lines, such as a setting. Says
// is a sentence about the rule or cause. Source cites the documents on which the rule
// is based; "": it is not a rule. Description returns the details; nil: there are none.
type Rule struct {
	Says, Source string
	Description  func() Description
}

// A Description is the content of the page about one rule, which is at /rule.
type Description struct {
	Symptoms []string // what an administrator sees if the fault is not healed
	Does     string   // what the rule does, as prose
	Entries  []string // entries of heal.Catalogue that it heals, each as "L02 TEXT"
	Sets     []string // names of the sets that contain the rule
	Options  []Option
	About    string // prose about the dialogue in Lines
	Lines    []Line // a dialogue in which the rule acts
}

// An Option is an option of a rule: its name, its default as in TOML, and a text that
// says what the option does.
type Option struct{ Name, Default, Says string }

// A FailedReload is a failed attempt to reload the configuration or a certificate. The
// version loaded before is still in use.
type FailedReload struct {
	What string // what was to be reloaded, as text for people
	At   time.Time
	Errs []string // why it failed
}

// A Cause is a reason for which a session failed or a recipient was refused. It
// contains no text from a peer.
type Cause struct {
	Rule      string // the rule that heals it; "": none does
	Means, Do string // the reason, and what to do about it, as text for people
	Source    string // the document that describes the reason; "": none
	Guess     bool   // the reason is only probable
}

// A Route is what the page shows of one route of the current configuration, apart from
// counts, servers and certificates.
type Route struct {
	Name   string
	Listen []string
	Rules  []string // rules in force
}

// A Session is what the page shows of one session, which has ended or is still running.
type Session struct {
	ID, Route, Client    string
	Began                time.Time
	Ended                bool // if false, the fields below except Lines are not set
	Outcome              vocabulary.Outcome
	Server, Hello        string
	Messages             int            // number of messages accepted
	Octets               int64          // size of all messages, accepted or not
	Rules                map[string]int // how often each rule acted
	Products             []string       // recognised products, each with its sign in words
	ClientTLS, ServerTLS string         // versions of TLS, such as "1.3"; "": in clear
	// ClientAuth is the mechanism by which the client has logged in. ServerAuth is the
	// mechanism by which a login at the server has succeeded. "": there was no login.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Refused                Refusal
	While, Err             string // as in proxy.Ending
	Lasted                 time.Duration

	Lines []Line // the dialogue; empty if nobody was watching when the session began

	// Causes returns the reasons for which the session failed or a recipient was
	// refused, the likeliest first. nil: nothing failed.
	Causes func() []Cause

	// Recorded reports whether there is a recording of the session. nil: there is none.
	Recorded func() bool
	Replays  bool // Source.Replay can play the recording, if there is one
}

// A Refusal is the reply by which the client's mail was refused. If Code is 0, no mail
// was refused.
type Refusal struct {
	Verb string // what was replied to: "MAIL", "end-of-data", "greeting", ...
	Code int    // 4xx or 5xx
	Text string // the first line of the reply, without its code; any octets

	Means, Do string // what the reply means, and what to do about it; "": not known
}

// A Line is one line of a dialogue, or an event, as in package transcript.
type Line struct {
	After time.Duration // time since the session began
	// Side is 'C' or 'S', and Mark is ':', '-' or '+', as in package transcript. Both
	// are 0 for an event.
	Side, Mark byte
	Text       string // any octets
	// Rule names the rules, safeguards and causes (package vocabulary) that changed the
	// line, separated by commas. It is "" if the line is unchanged, or if smtpshim
	// changed it for another reason, such as the end of the session.
	Rule string
}

//go:embed page.html alone.html rule.html replay.html observed.html page.css page.js page.svg
var files embed.FS

// New returns a handler that serves the status page at /, the files and pages to which
// it links, s.Events at /events and s.Evidence at /observed. The content comes from s.
// rest handles all other requests.
func New(s Source, rest http.Handler) http.Handler {
	p := page{s, template.Must(template.New("page").ParseFS(files, "*.html")), make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.Handle("GET /{$}", p.guard(http.HandlerFunc(p.show)))
	mux.Handle("GET /rule", p.guard(http.HandlerFunc(p.describe)))
	mux.Handle("GET /recording", p.guard(http.HandlerFunc(p.record)))
	mux.Handle("GET /events", p.guard(s.Events))
	if s.Replay != nil {
		mux.Handle("GET /replay", p.guard(http.HandlerFunc(p.replay)))
	}
	if s.Evidence != nil {
		mux.Handle("GET /observed", p.guard(s.Evidence))
	}
	for _, name := range []string{"page.css", "page.js", "page.svg"} {
		mux.Handle("GET /"+name, p.guard(file(name)))
	}
	return mux
}

type page struct {
	Source
	template  *template.Template
	replaying chan struct{} // full while a recording is being played
}

// policy lets the page load only files that are embedded here.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard protects the page from other websites.
func (p *page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy":      policy,
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cache-Control":                "no-store",
		} {
			w.Header().Set(name, value)
		}
		if !p.AnyHost && !isAddress(r.Host) {
			http.Error(w, "ask for this page under an address or as localhost, or set a password", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isAddress reports whether host is not a name that somebody else could have chosen.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// show serves the page.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	p.execute(w, "page.html", p.view(filterOf(r), time.Now()))
}

// describe serves the description of the rule that the query names.
func (p *page) describe(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	rule := p.Rule(name)
	if rule.Description == nil {
		http.Error(w, "there is no description of such a rule", http.StatusNotFound)
		return
	}
	d := rule.Description()
	p.execute(w, "rule.html", struct {
		Name string
		Rule
		Description
		ID    string // of the dialogue
		Turns []turn
	}{name, rule, d, "example", example(d.Lines)})
}

// record serves the recording of the session that the query names, as a file to save.
func (p *page) record(w http.ResponseWriter, r *http.Request) {
	name, text, err := p.Recording(r.URL.Query().Get("session"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	w.Write(text)
}

// execute answers with a template. If that fails, it sends nothing of it.
func (p *page) execute(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := p.template.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	b.WriteTo(w)
}

// file serves an embedded file.
func file(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, name)
	})
}

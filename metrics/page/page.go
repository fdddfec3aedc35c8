// Package page is the status page of the admin listener. It shows the last sessions,
// with the client's and the server's lines side by side. For sessions that failed it
// shows why, and what heals that. It also shows problems that need attention, and the
// state of routes, servers, rules and certificates.
//
// The package makes the page as HTML that loads nothing from other hosts. A small
// script updates the page, which also works without the script. Text from a peer is
// quoted as in transcripts, so that it is printable ASCII.
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

// A Source provides what the page shows. Its functions are called at each request, from
// several goroutines.
type Source struct {
	Version string
	// Rule describes what can change a line: a rule, or what is no rule, such as the
	// setting client_tls. name is in Route.Rules, or one of the names in Line.Rule. The
	// result is zero for an unknown name.
	Rule func(name string) Rule
	// Ready returns why the program takes no sessions, or nil if it takes them.
	Ready        func() error
	Gatherer     prometheus.Gatherer
	Routes       func() []Route
	Servers      func() []metrics.Server
	Certificates func() []metrics.Certificate
	Events       http.Handler      // the Stream of what happens in sessions
	Observed     func() []Observed // nil: no rule is observed
	Evidence     http.Handler      // serves Observed as JSON at /observed; nil: not served

	// FailedReloads returns the failed reloads that no successful one has followed.
	FailedReloads func() []FailedReload

	// Sessions returns the last sessions, newest first. Recording returns the recording of
	// the session whose ID is session: its file name and its text. It returns an error if
	// there is no recording.
	Sessions  func() []Session
	Recording func(session string) (name string, text []byte, err error)

	// Replay plays the recording of the session whose ID is session. The page offers this
	// if Session.Replays is set. Only one call runs at a time. If Replay is nil,
	// recordings cannot be played.
	Replay func(session string) (Replay, error)

	// AnyHost serves the page under any host name. That is safe only if a password
	// protects the page. If AnyHost is false, the page is served only under an IP address
	// or localhost, so that no website can read it through a name of its own (DNS
	// rebinding).
	AnyHost bool
}

// A Rule describes a rule, or another cause of changed lines. Says is a sentence about
// it. Source cites the documents on which it is based, or is "". Description has the
// details, or is nil.
type Rule struct {
	Says, Source string
	Description  func() Description
}

// A Description is what an administrator needs to know about a rule.
type Description struct {
	Symptoms []string // what an administrator sees if the fault is not healed
	Does     string
	Entries  []string // entries of heal.Catalogue that it heals, each as "L02 TEXT"
	Sets     []string // names of the sets that contain the rule
	Options  []Option
	About    string // prose about the dialogue in Lines
	Lines    []Line // a dialogue in which the rule acts
}

// An Option is an option of a rule.
type Option struct{ Name, Default, Says string }

// A FailedReload is an attempt to reload the configuration or a certificate that failed
// because of mistakes. The version loaded before is still in use.
type FailedReload struct {
	What string // names, for people, what was to be reloaded
	At   time.Time
	Errs []string // the errors
}

// A Cause is a reason for which a session failed. It contains no text from a peer.
type Cause struct {
	Rule      string // the rule that heals it; "": none does
	Means, Do string
	Source    string // the document that describes this; "": none needed
	Guess     bool   // the true reason may be another one
}

// A Route is a route of the configuration.
type Route struct {
	Name   string
	Listen []string
	Rules  []string // rules in force
}

// A Session is a session, ended or not.
type Session struct {
	ID, Route, Client    string
	Began                time.Time
	Ended                bool // if false, the fields below except Lines are not set
	Outcome              vocabulary.Outcome
	Server, Hello        string
	Messages             int // messages accepted
	Octets               int64
	Rules                map[string]int // how often each rule acted
	Products             []string       // recognised products, each with its sign in words
	ClientTLS, ServerTLS string         // versions of TLS, such as "1.3"; "": in clear
	// ClientAuth is the mechanism by which the client has logged in. ServerAuth is the
	// mechanism by which a login at the server has succeeded. "": there was no login.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Refused                Refusal
	While, Err             string
	Lasted                 time.Duration

	Lines []Line // the dialogue; empty if nobody was watching when the session began

	// Causes returns the reasons for which the session failed or a recipient was refused,
	// and what heals them, the likeliest first. nil: nothing failed.
	Causes func() []Cause

	// Recorded reports whether there is a recording. nil: there is none.
	Recorded func() bool
	Replays  bool // the recording, if there is one, can be played
}

// A Refusal is the reply by which mail was refused. If Code is 0, no mail was refused.
type Refusal struct {
	Verb string
	Code int
	Text string // the text of the reply, with any octets

	Means, Do string // what the reply means, and what to do about it; "": not known
}

// A Line is one line of a dialogue, or an event, as in package transcript.
type Line struct {
	After time.Duration // since the session began
	// Side is 'C' or 'S', and Mark is ':', '-' or '+', as in package transcript. Both are
	// 0 for an event.
	Side, Mark byte
	Text       string // any octets
	Rule       string // the rules that changed it, separated by commas; "": unchanged
}

//go:embed page.html alone.html rule.html replay.html observed.html page.css page.js page.svg
var files embed.FS

// New returns a handler that serves the status page at /, with the content from s, the
// files and pages that it links to, and s.Events at /events. rest handles all other
// requests.
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

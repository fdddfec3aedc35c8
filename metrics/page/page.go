// Package page is the status page of the admin listener. It shows the last sessions, with
// the client's and the server's lines side by side, and, for those that failed, why and
// what heals that; problems that need attention; and the state of routes, servers, rules
// and certificates.
//
// The page is HTML that is made here, and loads nothing from elsewhere. A small script
// updates it; it also works without. Text from a peer is quoted as in transcripts, so
// that it is printable ASCII.
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
	Version      string
	Rules        map[string]Rule // by the names in lines and routes
	Ready        func() error    // why the program takes no sessions; nil: it does
	Gatherer     prometheus.Gatherer
	Routes       func() []Route
	Servers      func() []metrics.Server
	Certificates func() []metrics.Certificate
	Events       http.Handler      // a Stream of events in the sessions
	Observed     func() []Observed // nil: no rule is observed
	Evidence     http.Handler      // serves Observed to other programs, at /observed; nil: not served

	// FailedReloads returns the failed reloads that no successful one has followed.
	FailedReloads func() []FailedReload

	// Sessions returns the last sessions, newest first. Recording returns the recording
	// that a session's Recorded reports. name is its file name.
	Sessions  func() []Session
	Recording func(session string) (name string, text []byte, err error)

	// Replay plays the recording of a session whose Replays is set. Only one call runs at
	// a time. nil: recordings cannot be played.
	Replay func(session string) (Replay, error)

	// AnyHost serves the page under any host name, as is safe if a password protects it.
	// Otherwise it is served only under an address or localhost, so that no website can
	// point its own name here and read the page (DNS rebinding).
	AnyHost bool
}

// A Rule says in a sentence what a rule does, and the source that requires it; Source may
// be "". Description is nil if there is none.
type Rule struct {
	Says, Source string
	Description  func() Description
}

// A Description is what an administrator needs to know about a rule.
type Description struct {
	Symptoms []string // what an administrator sees of the fault
	Does     string
	Entries  []string // entries of the catalogue that it heals
	Sets     []string // sets that have the rule
	Options  []Option
	About    string // about the dialogue
	Lines    []Line // a dialogue in which the rule acts
}

// An Option is an option of a rule.
type Option struct{ Name, Default, Says string }

// A FailedReload is a failed reload of What, which stays as it was before.
type FailedReload struct {
	What string
	At   time.Time
	Errs []string // the mistakes in it
}

// A Cause is a reason for which a session failed. It contains no text from a peer.
type Cause struct {
	Rule      string // the rule that heals it; "": none does
	Means, Do string
	Source    string // where that is documented; "": not needed
	Guess     bool   // it may have another reason
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
	Ended                bool // the fields below, other than Lines, are set only at the end
	Outcome              vocabulary.Outcome
	Server, Hello        string
	Messages             int // messages accepted
	Octets               int64
	Rules                map[string]int // how often each rule acted
	Products             []string       // products that were recognised, each with its sign
	ClientTLS, ServerTLS string         // versions of TLS; "" in clear
	// The mechanism by which the client has logged in, and by which a login at the server
	// has succeeded; "": none has.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Refused                Refusal
	While, Err             string
	Lasted                 time.Duration

	Lines []Line // empty if nobody was watching when the session began

	// Causes returns the reasons for which the session failed or a recipient was refused,
	// and what heals them, the likeliest first. nil: nothing failed.
	Causes func() []Cause

	// Recorded reports whether there is a recording. nil: there is none.
	Recorded func() bool
	Replays  bool // the recording, if there is one, can be played
}

// A Refusal is the reply that refused mail; Code 0: no mail was refused.
type Refusal struct {
	Verb string
	Code int
	Text string // any octets

	Means, Do string // what it means and what to do; "": not known
}

// A Line is one line of a dialogue, or an event, as in package transcript.
type Line struct {
	After      time.Duration // since the session began
	Side, Mark byte          // 'C', 'S', or 0 for an event; ':', '-' or '+'
	Text       string        // any octets
	Rule       string        // the rules that changed it, separated by commas; "": unchanged
}

//go:embed page.html alone.html rule.html replay.html observed.html page.css page.js page.svg
var files embed.FS

// New returns a handler that serves the page at /, its other files, and s.Events at
// /events, with the content from s. rest handles all other requests.
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
	rule := p.Rules[name]
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

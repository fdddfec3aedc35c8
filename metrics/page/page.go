// Package page is the status page of the admin listener: the last sessions with both
// legs of their dialogues side by side and, of those that failed, why and what heals
// it; what needs looking at; and routes, servers, rules and certificates as they stand.
//
// It is HTML that is made here and asks nobody else for anything; a small script
// keeps it up to date, and it does without. All that a peer has said is printable
// ASCII before it comes into it: any other octet is quoted as transcripts do.
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

// A Source is what the page tells of. Its functions are called whenever somebody
// looks, from several goroutines.
type Source struct {
	Version      string
	Rules        map[string]Rule // by the names that lines and routes have for them
	Ready        func() error    // why it takes no sessions; nil: it does
	Gatherer     prometheus.Gatherer
	Routes       func() []Route
	Servers      func() []metrics.Server
	Certificates func() []metrics.Certificate
	Events       http.Handler      // a Stream of what happens in the sessions
	Observed     func() []Observed // nil: nothing is observed
	Evidence     http.Handler      // the same for other programs, at /observed; nil: there is none

	// FailedReloads are those that none has followed that succeeded.
	FailedReloads func() []FailedReload

	// Sessions are the last ones, newest first. Recording is what a session's Recorded
	// promises; name is that of a file.
	Sessions  func() []Session
	Recording func(session string) (name string, text []byte, err error)

	// Replay plays the recording of a session whose Replays is set; of one at a time. nil:
	// none is played.
	Replay func(session string) (Replay, error)

	// AnyHost lets the page be asked for under any name, as where a password
	// protects it. Else it is to be had under an address or as localhost alone,
	// so that no website can have its own name point here and read it (DNS
	// rebinding).
	AnyHost bool
}

// A Rule is what one does, in a sentence, and who says that it has to; Source may
// be "". Description is all that is known of it; nil: there is no more than this.
type Rule struct {
	Says, Source string
	Description  func() Description
}

// A Description is what an administrator wants to know of a rule.
type Description struct {
	Symptoms []string // what is seen of the ill
	Does     string
	Entries  []string // of the catalogue
	Sets     []string // that have the rule
	Options  []Option
	About    string // the dialogue
	Lines    []Line // of a dialogue in which the rule acts
}

// An Option is one of a rule.
type Option struct{ Name, Default, Says string }

// A FailedReload is one of What, which goes on as it was before.
type FailedReload struct {
	What string
	At   time.Time
	Errs []string // what is wrong with it
}

// A Cause is why a session failed. No peer has said any of it.
type Cause struct {
	Rule      string // that heals it; "": none does
	Means, Do string
	Source    string // who says so; "": nobody has to
	Guess     bool   // it may be something else
}

// A Route is one of the configuration.
type Route struct {
	Name   string
	Listen []string
	Rules  []string // in force
}

// A Session is one that is over or under way.
type Session struct {
	ID, Route, Client    string
	Began                time.Time
	Ended                bool // what follows is known at the end alone, but for Lines
	Outcome              vocabulary.Outcome
	Server, Hello        string
	Messages             int // accepted
	Octets               int64
	Rules                map[string]int // how often each acted
	Products             []string       // that were recognised, each with what told
	ClientTLS, ServerTLS string         // versions; "" in clear
	// By what the client has logged in, and somebody at the server; "": nobody has.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Refused                Refusal
	While, Err             string
	Lasted                 time.Duration

	Lines []Line // none if nobody looked when it began

	// Causes says why the session failed, or a recipient was refused in it, and what
	// heals that, the surest cause first; nil: nothing failed.
	Causes func() []Cause

	// Recorded reports whether there is a recording; nil: there is none.
	Recorded func() bool
	Replays  bool // the recording can be played, if there is one
}

// A Refusal is the reply with which mail was refused; Code 0: none was.
type Refusal struct {
	Verb string
	Code int
	Text string // any octets

	Means, Do string // what it means and what to do about it; "": nothing is known
}

// A Line is one line of a dialogue, or an event, as package transcript has it.
type Line struct {
	After      time.Duration // since the session began
	Side, Mark byte          // 'C', 'S', or 0 for an event; ':', '-' or '+'
	Text       string        // any octets
	Rule       string        // names with commas between them; "": as it was said
}

//go:embed page.html alone.html rule.html replay.html observed.html page.css page.js page.svg
var files embed.FS

// New answers for the page at /, for what belongs to it, and for s.Events at
// /events. rest answers for everything else.
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
	replaying chan struct{} // is full while a recording is played
}

// policy lets the page load what is embedded here, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard keeps what is on the page from other websites.
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

// isAddress says that a Host is no name that somebody else could have chosen.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// show makes the page.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	p.execute(w, "page.html", p.view(filterOf(r), time.Now()))
}

// describe shows the description of the rule that the query names.
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

// record has the recording of the session that the query names saved as a file.
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

// execute answers with a template. It is whole or not sent at all.
func (p *page) execute(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := p.template.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	b.WriteTo(w)
}

// file answers with one that is embedded.
func file(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, name)
	})
}

// Package page is the status page of the admin listener: routes, servers,
// rules and certificates as they stand, and the last sessions with both legs of
// their dialogues side by side.
//
// It is HTML that is made here and asks nobody else for anything; a small script
// keeps it up to date, and it does without. All that a peer has said is printable
// ASCII before it comes into it: any other octet is quoted as transcripts do.
package page

import (
	"bytes"
	"embed"
	"html/template"
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
	Stale        func() string   // why the configuration in force is older than its file; "": it is not
	Gatherer     prometheus.Gatherer
	Routes       func() []Route
	Servers      func() []metrics.Server
	Certificates func() []metrics.Certificate
	Sessions     func() []Session  // newest first
	Events       http.Handler      // a Stream of what happens in the sessions
	Observed     func() []Observed // nil: nothing is observed
	Evidence     http.Handler      // the same for other programs, at /observed; nil: there is none

	// AnyHost lets the page be asked for under any name, as where a password
	// protects it. Else it is to be had under an address or as localhost alone,
	// so that no website can have its own name point here and read it (DNS
	// rebinding).
	AnyHost bool
}

// A Rule is what one does, in a sentence, and who says that it has to; Source may
// be "".
type Rule struct{ Says, Source string }

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
	Would                map[string]int // how often each observed rule would have acted
	Products             []string       // that were recognised, each with what told
	ClientTLS, ServerTLS string         // versions; "" in clear
	// By what the client has logged in, and somebody at the server; "": nobody has.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Refused                Refusal
	While, Err             string
	Lasted                 time.Duration

	Lines []Line // none if nobody looked when it began
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

//go:embed page.html observed.html page.css page.js page.svg
var files embed.FS

// New answers for the page at /, for what belongs to it, and for s.Events at
// /events. rest answers for everything else.
func New(s Source, rest http.Handler) http.Handler {
	p := page{s, template.Must(template.New("page.html").ParseFS(files, "page.html", "observed.html"))}
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.Handle("GET /{$}", p.guard(http.HandlerFunc(p.show)))
	mux.Handle("GET /events", p.guard(s.Events))
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
	template *template.Template
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

// show makes the page. It is whole or not sent at all.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := p.template.Execute(&b, p.view(filterOf(r), time.Now())); err != nil {
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

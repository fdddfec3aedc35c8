package page

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"smtpshim/metrics"
)

// said is a dialogue in the notation of transcripts, with the rule behind two
// blanks and a hash.
func said(lines ...string) []Line {
	var list []Line
	for i, text := range lines {
		text, rule, _ := strings.Cut(text, "  # ")
		l := Line{After: time.Duration(i) * 10 * time.Millisecond, Rule: rule}
		if margin, rest, _ := strings.Cut(text, " "); margin == "~" {
			l.Text = rest
		} else {
			l.Side, l.Mark, l.Text = margin[0], margin[1], rest
		}
		list = append(list, l)
	}
	return list
}

// dialogue has all that can happen to a line.
var dialogue = said(
	"S- 220 mail.example.com ready  # advertise-esmtp",
	"S+ 220 mail.example.com ESMTP ready  # advertise-esmtp",
	"C- EHLO sub2.  # fix-hello-name",
	"C+ EHLO sub2  # fix-hello-name",
	"S: 250-mail.example.com Hello [192.0.2.7]",
	"S- 250-XEXCH50  # not-carried",
	"S: 250 SIZE 0",
	"C: MAIL FROM:<anna@example.com>",
	"S: 250 anna",
	"C: DATA",
	"S- 354-go on  # join-data-reply,fix-hello-name",
	"S- 354 now  # join-data-reply,fix-hello-name",
	"S+ 354 go on now  # join-data-reply,fix-hello-name",
	"~ message 1024 bytes",
	"S: 250 queued",
	"C: QUIT",
	"S: 221 bye",
)

// describing describes rules as in a map.
func describing(rules map[string]Rule) func(string) Rule {
	return func(name string) Rule { return rules[name] }
}

// source has one of each.
func source() Source {
	reg := prometheus.NewRegistry()
	counters := metrics.New(reg, "v1.2.3").Route("in", []string{"advertise-esmtp", "fix-hello-name"}, metrics.TLS{})
	counters.SessionBegan()
	for range 1234 {
		counters.SessionBegan()
		counters.SessionEnded("ok", time.Second)
		counters.RuleApplied("fix-hello-name")
	}
	counters.Message("accepted", 1024)
	counters.Message("refused", 1024)
	began := time.Now().Add(-time.Minute)
	return Source{
		Version: "v1.2.3",
		Rule: describing(map[string]Rule{
			"advertise-esmtp": {Says: "Heals servers that hide.", Source: "KB Q164060"},
			"fix-hello-name": {Says: "Heals names with dots.", Source: "KB Q240832", Description: func() Description {
				return Description{Symptoms: []string{"501 <b>"}, Does: "It mends names.", Entries: []string{"L25 a name is refused"}, Sets: []string{"standard", "auto"},
					Options: []Option{{"name", `""`, "what is said instead"}}, About: "Attested.", Lines: said("S: 220 ready", "C- EHLO sub2.  # fix-hello-name", "C+ EHLO sub2  # fix-hello-name")}
			}},
		}),
		Ready:         func() error { return nil },
		FailedReloads: func() []FailedReload { return nil },
		Gatherer:      reg,
		Routes: func() []Route {
			return []Route{
				{"in", []string{"127.0.0.1:2525", "[::1]:2525"}, []string{"advertise-esmtp", "fix-hello-name"}},
				{"out", []string{"127.0.0.1:2526"}, nil},
			}
		},
		Servers: func() []metrics.Server {
			return []metrics.Server{{Route: "in", Name: "192.0.2.25:25", Sessions: 1, Up: true}, {Route: "in", Name: "192.0.2.26:25"}}
		},
		Certificates: func() []metrics.Certificate {
			return []metrics.Certificate{
				{Route: "in", Side: "client", Name: "mail.example.com", NotAfter: time.Now().Add(90*24*time.Hour + time.Hour)},
				{Route: "in", Side: "client", Name: "old.example.com", NotAfter: time.Now().AddDate(0, 0, -1)},
				{Route: "in", Side: "server", Name: "soon.example.com", NotAfter: time.Now().Add(36 * time.Hour)},
			}
		},
		Sessions: func() []Session {
			return []Session{
				{ID: "c", Route: "in", Client: "192.0.2.9", Began: began, Lines: dialogue[:3]},
				{ID: "b", Route: "in", Client: "192.0.2.7", Began: began, Ended: true, Outcome: "ok", Server: "192.0.2.25:25", Hello: "sub2",
					Messages: 1, Octets: 1024, Rules: map[string]int{"fix-hello-name": 2, "advertise-esmtp": 1}, ServerTLS: "1.0", Products: []string{"iis-4, by its greeting"},
					Lasted: 1500 * time.Millisecond, Lines: dialogue, Recorded: func() bool { return true }},
				{ID: "a", Route: "out", Client: "192.0.2.8", Began: began.AddDate(0, 0, -1), Ended: true, Outcome: "server-lost",
					While: "waiting for the reply to data", Err: "connection reset",
					Causes: func() []Cause { return []Cause{{Rule: "unknown", Means: "It is lost", Do: "look", Guess: true}} }},
				{ID: "z", Route: "out", Client: "192.0.2.8", Began: began.AddDate(0, 0, -1), Ended: true, Outcome: "refused", Server: "192.0.2.25:25",
					ClientAuth: "LOGIN", Refused: Refusal{Verb: "MAIL", Code: 550, Text: "5.7.68 Direct Send not allowed"},
					Causes: func() []Cause {
						return []Cause{{Rule: "fix-hello-name", Means: "Direct Send is off", Do: "use a connector", Source: "KB Q1"}}
					}},
			}
		},
		Recording: func(session string) (string, []byte, error) {
			if session != "b" {
				return "", nil, errors.New("there is none")
			}
			return "in-b.txt", []byte("S: <b>\n"), nil
		},
		Events: http.NotFoundHandler(),
	}
}

// get asks the page for a path.
func get(s Source, path, host string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	if host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	New(s, http.NotFoundHandler()).ServeHTTP(w, r)
	return w.Result()
}

// ask is the status with which a page answers for a path.
func ask(page http.Handler, path string) int {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "127.0.0.1:9525"
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	return w.Code
}

// look asks for the page itself.
func look(t *testing.T, s Source, query string) (text string, root *html.Node) {
	t.Helper()
	response := get(s, "/"+query, "127.0.0.1:9525")
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatal(response.Status, response.Header, err)
	}
	root, err = html.Parse(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), root
}

// all are the elements of that name, with that class if it is not "".
func all(n *html.Node, name, class string) []*html.Node {
	var list []*html.Node
	for e := range n.Descendants() {
		if e.Type == html.ElementNode && e.Data == name && (class == "" || slices.Contains(strings.Fields(attribute(e, "class")), class)) {
			list = append(list, e)
		}
	}
	return list
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// words is the text of an element, with single blanks.
func words(n *html.Node) string {
	var b strings.Builder
	for e := range n.Descendants() {
		if e.Type == html.TextNode {
			b.WriteString(e.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// byID is the element with that id; it fails if there is none.
func byID(t *testing.T, root *html.Node, id string) *html.Node {
	t.Helper()
	for e := range root.Descendants() {
		if attribute(e, "id") == id {
			return e
		}
	}
	t.Fatalf("nothing has the id %s", id)
	return nil
}

func TestBothLegsStandSideBySide(t *testing.T) {
	_, root := look(t, source(), "")
	var got []string
	for _, li := range all(byID(t, root, "session-b"), "li", "") {
		got = append(got, "turn")
		for e := range li.Descendants() {
			switch class := attribute(e, "class"); {
			case strings.HasPrefix(class, "row"):
				var cells []string
				for cell := range e.ChildNodes() {
					if cell.Type == html.ElementNode {
						cells = append(cells, words(cell))
					}
				}
				got = append(got, strings.Join(cells, " | "))
			case e.Data == "summary", class == "event":
				got = append(got, words(e))
			}
		}
	}
	want := []string{
		"turn", "S+ 220 mail.example.com ESMTP ready | S- 220 mail.example.com ready", "changed by advertise-esmtp",
		"turn", "C- EHLO sub2. | C+ EHLO sub2", "changed by fix-hello-name",
		"S: 250-mail.example.com Hello [192.0.2.7] | S: 250-mail.example.com Hello [192.0.2.7]",
		" | S- 250-XEXCH50", "changed by not-carried", "S: 250 SIZE 0 | S: 250 SIZE 0",
		"turn", "C: MAIL FROM:<anna@example.com> | C: MAIL FROM:<anna@example.com>", "S: 250 anna | S: 250 anna",
		"turn", "C: DATA | C: DATA", "S+ 354 go on now | S- 354-go on", " | S- 354 now",
		"changed by join-data-reply", "changed by fix-hello-name", "~ message 1024 bytes", "S: 250 queued | S: 250 queued",
		"turn", "C: QUIT | C: QUIT", "S: 221 bye | S: 221 bye",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEachChangeGivesItsReason(t *testing.T) {
	_, root := look(t, source(), "")
	changes := all(byID(t, root, "session-b"), "div", "change")
	if len(changes) != 4 {
		t.Fatalf("%d changes", len(changes))
	}
	for i, want := range []string{"Heals servers that hide. Source: KB Q164060", "Heals names with dots. Source: KB Q240832", "The configuration has it so."} {
		summary := all(changes[i], "summary", "")[0]
		got := strings.TrimSuffix(words(all(changes[i], "div", "why")[0]), " About fix-hello-name") // a link
		if got != want || attribute(summary, "title") != want {
			t.Errorf("%s: %q, %q, want %q", words(summary), got, attribute(summary, "title"), want)
		}
	}
}

// hostile is what peers may say to harm who looks.
var hostile = []string{
	`<script>alert(1)</script>`, `</code></li><img src=x onerror=alert(1)>`, `"><b a='`, `&lt;script&gt;`,
	"\x1b[2J\x1b]0;gone\x07", "\x00\r\x7f", "\xff\xfe\xc0\xaf", "\u202etxt.exe", "\u2066\u2069\ufeff", "ｅxample", "{{.}}", "javascript:alert(1)", "`${x}`",
}

func TestWhatPeersSayIsPrintableAndOnlyText(t *testing.T) {
	for _, bytes := range hostile {
		s := source()
		s.Sessions = func() []Session {
			return []Session{{ID: "x", Route: "in", Client: bytes, Ended: true, Outcome: "refused", Server: "192.0.2.25:25", Hello: bytes, While: "data", Err: bytes, Refused: Refusal{Verb: "MAIL", Code: 550, Text: bytes},
				Lines: []Line{
					{Side: 'C', Mark: ':', Text: bytes}, {Side: 'S', Mark: '-', Text: bytes, Rule: "fix-hello-name"},
					{Side: 'S', Mark: '+', Text: bytes + " ", Rule: "fix-hello-name"}, {Text: bytes},
				}}}
		}
		s.Certificates = func() []metrics.Certificate { return []metrics.Certificate{{Route: "in", Side: "client", Name: bytes}} }
		s.Observed = func() []Observed {
			return []Observed{{Route: "in", Rules: []ObservedRule{{Name: "fix-hello-name", Named: []string{bytes}, Line: bytes}}}}
		}
		_, calm := look(t, source(), "")
		text, root := look(t, s, "")
		for _, r := range text {
			if r != '\n' && (r < ' ' || r > '~') && !strings.ContainsRune("→·×", r) {
				t.Errorf("%q: %q is on the page", bytes, r)
			}
		}
		if n := len(all(root, "script", "")) - len(all(calm, "script", "")) + len(all(root, "img", "")); n != 0 {
			t.Errorf("%q has become an element", bytes)
		}
		want := quoted(bytes)
		seen := words(byID(t, root, "session-x"))
		if n := strings.Count(seen, strings.Join(strings.Fields(want), " ")); n < 8 {
			t.Errorf("%q stands %d times in %s", want, n, seen)
		}
		seen = words(byID(t, root, "route-in"))
		if n := strings.Count(seen, strings.Join(strings.Fields(want), " ")); n < 3 {
			t.Errorf("%q stands %d times in %s", want, n, seen)
		}
	}
}

func TestNothingOnThePageComesFromElsewhere(t *testing.T) {
	_, root := look(t, source(), "")
	ids := map[string]bool{}
	for e := range root.Descendants() {
		if e.Data == "style" && e.Type == html.ElementNode || e.Data == "script" && e.FirstChild != nil {
			t.Errorf("%s stands in the page, and the policy forbids it", e.Data)
		}
		for _, a := range e.Attr {
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"):
				t.Errorf("%s has the attribute %s, and the policy forbids it", e.Data, a.Key)
			case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
				byID(t, root, a.Val[1:])
			case (a.Key == "href" || a.Key == "src") && a.Val != "":
				if response := get(source(), "/"+a.Val, ""); response.StatusCode != http.StatusMisdirectedRequest {
					t.Errorf("%s is not guarded: %s", a.Val, response.Status)
				}
				if response := get(source(), "/"+a.Val, "localhost:9525"); response.StatusCode != http.StatusOK || strings.Contains(a.Val, "/") {
					t.Errorf("%s: %s", a.Val, response.Status)
				}
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("the id %s is there twice", a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			case a.Key == "aria-labelledby":
				byID(t, root, a.Val)
			}
		}
	}
	for _, name := range []string{"page.js", "page.css"} {
		text, err := files.ReadFile(name)
		if err != nil || strings.Contains(string(text), "//www") || strings.Contains(string(text), "http") {
			t.Errorf("%s names another host, or %v", name, err)
		}
	}
}

func TestBrowsersAreToldToBeStrict(t *testing.T) {
	for _, path := range []string{"/", "/page.css", "/page.js", "/page.svg", "/events", "/rule?name=fix-hello-name", "/recording?session=b"} {
		h := get(source(), path, "[::1]:9525").Header
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "script-src 'self'", "style-src 'self'"} {
			if !strings.Contains(policy+";", want+";") {
				t.Errorf("%s: the policy is %q, without %q", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestNoOtherWebsiteCanReadThePage(t *testing.T) {
	s := source()
	for host, status := range map[string]int{
		"127.0.0.1:9525": 200, "[2001:db8::1]:9525": 200, "192.0.2.1": 200, "localhost": 200, "LOCALHOST:9525": 200,
		"shim.example.com:9525": 421, "localhost.example.com": 421, "127.0.0.1.example.com": 421, "": 421,
	} {
		for _, path := range []string{"/", "/events", "/rule?name=fix-hello-name", "/recording?session=b"} {
			want := status
			if path == "/events" && want == 200 {
				want = 404 // as the source has it
			}
			if got := get(s, path, host).StatusCode; got != want {
				t.Errorf("%s%s: %d, want %d", host, path, got, want)
			}
		}
	}
	s.AnyHost = true
	if got := get(s, "/", "shim.example.com").StatusCode; got != 200 {
		t.Errorf("with a password: %d", got)
	}
}

func TestThePageIsBounded(t *testing.T) {
	s := source()
	s.Sessions = func() []Session {
		var list []Session
		for i := range 1000 {
			list = append(list, Session{ID: fmt.Sprint(i), Route: "in", Lines: said("S: 220 mail.example.com")})
		}
		for range 5000 {
			list[0].Lines = append(list[0].Lines, said("C: NOOP")...)
		}
		return list
	}
	_, root := look(t, s, "")
	if n := len(all(root, "li", "session")); n != mostSessions {
		t.Errorf("%d sessions", n)
	}
	first := byID(t, root, "session-0")
	if n := len(all(first, "div", "row")); n != mostLines || !strings.Contains(words(first), "~ 4601 more lines") {
		t.Errorf("%d lines", n)
	}
}

func TestTheRestIsAnsweredByTheRest(t *testing.T) {
	rest := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, path := range []string{"/metrics", "/healthz", "/pages"} {
		w := httptest.NewRecorder()
		New(source(), rest).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

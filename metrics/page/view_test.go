package page

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"smtpshim/metrics"
)

func TestThePageTellsHowItStands(t *testing.T) {
	s := source()
	_, root := look(t, s, "")
	got := words(root)
	for _, want := range []string{
		"serving as of", "in 1 of 2 servers down certificate: has ended certificate: 1 day left 1 now 1,234 sessions ended 1 messages accepted 1,234 lines changed " +
			"127.0.0.1:2525, [::1]:2525 → to 192.0.2.25:25 up 1 now 192.0.2.26:25 down 0 now",
		"mail.example.com to clients, until", "90 days left", "has ended", "1 day left",
		"fix-hello-name 1,234 Heals names with dots. Source: KB Q240832 About fix-hello-name 1 not yet needed advertise-esmtp",
		"where each client was going", "none: every line passes unchanged",
		"Look at in 1 of 2 servers down in certificate old.example.com to clients: has ended in certificate soon.example.com to servers: 1 day left",
		"under way 192.0.2.9 in · c advertise-esmtp fix-hello-name",
		"ok 192.0.2.7 → to 192.0.2.25:25 in · b advertise-esmtp fix-hello-name ×2", "hello sub2", "messages 1 (1,024 octets)",
		"lasted 1.5s", "TLS client in clear, server 1.0", "product iis-4, by its greeting", "server-lost 192.0.2.8 → to no server", "nobody was looking",
		"out · a waiting for the reply to data: connection reset perhaps It is lost do look More of session a",
		"refused 192.0.2.8 → to 192.0.2.25:25 out · z MAIL: 550 5.7.68 Direct Send not allowed means Direct Send is off (KB Q1) do use a connector About fix-hello-name",
		"AUTH client LOGIN, server none",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	s.Ready = func() error { return errors.New("it is stopping") }
	if _, root = look(t, s, ""); !strings.HasPrefix(words(byID(t, root, "state")), "not ready as of") || !strings.HasPrefix(words(byID(t, root, "notices")), "Not ready it is stopping") {
		t.Error(words(byID(t, root, "state")), words(byID(t, root, "notices")))
	}
}

func TestAFailedReloadIsSaidAtTheTop(t *testing.T) {
	s := source()
	at := time.Now()
	s.FailedReloads = func() []FailedReload {
		return []FailedReload{{What: "the configuration, a.toml", At: at, Errs: []string{"a.toml:7: \x1b[2J<b>", "1 more"}}}
	}
	text, root := look(t, s, "")
	want := "A reload failed at " + at.Format(time.TimeOnly) + " This was not taken: the configuration, a.toml. What was in force before goes on, until a reload succeeds. " + `"a.toml:7: \x1b[2J<b>" 1 more`
	if got := words(byID(t, root, "notices")); !strings.HasPrefix(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if strings.Index(text, "A reload failed") > strings.Index(text, "Last sessions") {
		t.Error("it comes after the sessions")
	}
	if _, root = look(t, source(), ""); strings.Contains(words(root), "reload failed") {
		t.Error("it is said when none failed")
	}
}

func TestSessionsComeFirstAndThenRulesThatActed(t *testing.T) {
	s := source()
	route := s.Routes()[0]
	s.Routes = func() (list []Route) {
		for i := range 40 {
			r := route
			if i > 0 {
				r.Name = fmt.Sprint("route-", i)
			}
			list = append(list, r)
		}
		return list
	}
	text, root := look(t, s, "")
	if strings.Index(text, `id="sessions"`) > strings.Index(text, `id="routes"`) {
		t.Error("routes come before sessions")
	}
	routes := all(root, "details", "route")
	if len(routes) != 40 {
		t.Fatalf("%d routes", len(routes))
	}
	for _, r := range routes {
		if slices.ContainsFunc(r.Attr, func(a html.Attribute) bool { return a.Key == "open" }) {
			t.Errorf("of 40 routes %s is open", attribute(r, "id"))
		}
	}
	got := words(routes[0])
	if acted, idle := strings.Index(got, "fix-hello-name"), strings.Index(got, "advertise-esmtp"); acted < 0 || acted > idle {
		t.Errorf("rules that have not acted come first: %s", got)
	}
}

func TestProblemsAtTheTopAreFew(t *testing.T) {
	s := source()
	s.Ready = func() error { return errors.New(strings.Repeat("a server is down\n", 40)) }
	s.Routes = func() (list []Route) {
		for i := range 40 {
			list = append(list, Route{Name: fmt.Sprint("route-", i)})
		}
		return list
	}
	s.Servers = func() (list []metrics.Server) {
		for i := range 40 {
			list = append(list, metrics.Server{Route: fmt.Sprint("route-", i), Name: "192.0.2.25:25"})
		}
		return list
	}
	_, root := look(t, s, "")
	links := all(byID(t, root, "notices"), "a", "")
	if len(links) != mostProblems+1 || words(links[mostProblems]) != "36 more" {
		t.Errorf("%d problems: %s", len(links), words(byID(t, root, "notices")))
	}
	if reasons := all(all(root, "section", "bad")[0], "li", ""); len(reasons) != mostReasons+1 {
		t.Errorf("%d reasons why it is not ready", len(reasons))
	}
}

func TestARuleHasItsDescription(t *testing.T) {
	response := get(source(), "/rule?name=fix-hello-name", "127.0.0.1:9525")
	root, err := html.Parse(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := words(root)
	for _, want := range []string{"All sessions The rule fix-hello-name Heals names with dots. What is seen 501 <b> What the rule does It mends names. source KB Q240832 " +
		`in sets standard, auto catalogue L25 a name is refused Options, in [route.options.fix-hello-name] name = "" what is said instead On the wire Attested.`,
		"S: 220 ready S: 220 ready", "C- EHLO sub2. C+ EHLO sub2"} {
		if response.StatusCode != http.StatusOK || !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant %s", response.Status, got, want)
		}
	}
	if strings.Contains(got, "changed by") || strings.Contains(got, "+0.00") {
		t.Errorf("an example says when and why: %s", got)
	}
	for _, name := range []string{"advertise-esmtp", "none", ""} { // which have none
		if response := get(source(), "/rule?name="+name, "127.0.0.1:9525"); response.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %s", name, response.Status)
		}
	}
}

func TestARecordingIsSavedWhereThereIsOne(t *testing.T) {
	_, root := look(t, source(), "")
	var links []string
	for _, a := range all(byID(t, root, "sessions"), "a", "") {
		if link := attribute(a, "href"); strings.HasPrefix(link, "recording") {
			links = append(links, link)
		}
	}
	if !slices.Equal(links, []string{"recording?session=b"}) {
		t.Fatalf("links to recordings: %q", links)
	}
	response := get(source(), "/"+links[0], "127.0.0.1:9525")
	text, err := io.ReadAll(response.Body)
	if err != nil || string(text) != "S: <b>\n" || response.Header.Get("Content-Disposition") != "attachment; filename=in-b.txt" ||
		!strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v, %q, %v", response.Header, text, err)
	}
	if response := get(source(), "/recording?session=a", "127.0.0.1:9525"); response.StatusCode != http.StatusNotFound {
		t.Error(response.Status)
	}
}

func TestKindsOfSessionsAreLinks(t *testing.T) {
	for query, want := range map[string]string{
		"":                          "[All 4 ?] Failed 2 ?outcome=failed Refused 1 ?outcome=refused Healed 2 ?healed=1",
		"?outcome=failed":           "All 4 ? [Failed 2 ?outcome=failed] Refused 1 ?outcome=refused Healed 2 ?healed=1",
		"?route=in":                 "[All 2 ?route=in] Failed 0 ?outcome=failed&route=in Refused 0 ?outcome=refused&route=in Healed 2 ?healed=1&route=in",
		"?outcome=ok":               "All 4 ? Failed 2 ?outcome=failed Refused 1 ?outcome=refused Healed 2 ?healed=1",
		"?route=%22%3E%3Cscript%3E": "[All 0 ?route=%22%3E%3Cscript%3E] Failed 0 ?outcome=failed&route=%22%3E%3Cscript%3E Refused 0 ?outcome=refused&route=%22%3E%3Cscript%3E Healed 0 ?healed=1&route=%22%3E%3Cscript%3E",
	} {
		_, root := look(t, source(), query)
		var got []string
		for _, a := range all(byID(t, root, "choices"), "a", "") {
			text := words(a) + " " + attribute(a, "href")
			if attribute(a, "aria-current") == "true" {
				text = "[" + text + "]"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s:\n got %s\nwant %s", query, strings.Join(got, " "), want)
		}
	}
}

func TestSessionsAreFiltered(t *testing.T) {
	s := source()
	sessions := s.Sessions()
	s.Sessions = func() []Session { // d was changed by the configuration alone
		return append(sessions, Session{ID: "d", Route: "out", Lines: said("S+ 250 STARTTLS  # client_tls", "S+ 421 bye")})
	}
	for query, want := range map[string][]string{
		"":                          {"session-c", "session-b", "session-a", "session-z", "session-d"},
		"?route=in":                 {"session-c", "session-b"},
		"?route=out":                {"session-a", "session-z", "session-d"},
		"?outcome=refused":          {"session-z"},
		"?outcome=failed":           {"session-a", "session-z"},
		"?outcome=ok":               {"session-b"},
		"?outcome=nonsense":         nil,
		"?outcome=failed&route=in":  nil,
		"?healed=1":                 {"session-c", "session-b"},
		"?route=out&healed=1":       nil,
		"?route=%22%3E%3Cscript%3E": nil,
	} {
		_, root := look(t, s, query)
		var got []string
		for _, li := range all(root, "li", "session") {
			got = append(got, attribute(li, "id"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestARefusedSessionDoesNotLookWell(t *testing.T) {
	_, root := look(t, source(), "?outcome=refused")
	session := byID(t, root, "session-z")
	if class := attribute(session, "class"); class != "card session bad" {
		t.Errorf("the session is %q", class)
	}
	if pills := all(session, "span", "ok"); len(pills) != 0 {
		t.Errorf("%d of its words are green", len(pills))
	}
	chosen := ""
	for _, option := range all(root, "option", "") {
		for _, a := range option.Attr {
			if a.Key == "selected" {
				chosen += words(option)
			}
		}
	}
	if chosen != "refused" {
		t.Errorf("the form has %q chosen", chosen)
	}
}

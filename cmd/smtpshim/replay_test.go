package main

import (
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replayOf asks for the replay of the session of which the page has a link to one.
func (r *running) replayOf(t *testing.T) (status int, text string) {
	t.Helper()
	_, body := r.get("/")
	_, link, _ := strings.Cut(body, `href="replay?session=`)
	session, _, ok := strings.Cut(link, `"`)
	if !ok {
		t.Fatalf("no link to a replay:\n%s", body)
	}
	status, body = r.get("/replay?session=" + session)
	return status, html.UnescapeString(body)
}

// A session that was healed is played under three configurations, one after the other.
func TestARecordingIsReplayedUnderWhatTheRouteHasNow(t *testing.T) {
	listen, server := freeAddress(t), mailServer(t)
	r := startRoute(t, listen, server, mendsEveryName)
	r.get("/") // somebody looks
	say := connect(t, listen)
	say("EHLO sub2.", "250")
	say("MAIL FROM:<anna@example.com>", "250")
	say("QUIT", "2")
	r.logged("outcome=")
	const acts = "fix-hello-name"
	for _, test := range []struct{ route, under, has, hasNot string }{
		{mendsEveryName, "under the route in as it is now", acts, "not known"},
		{mendsEveryName + "mode = \"observe\"\n", "under the route in as it is now, if the rules acted that it observes", acts, "not known"},
		{"rules = []\n", "under the route in as it is now", "No rule would act.", acts},
	} {
		r.route = test.route
		r.configure(listen, server, "")
		r.reloaded()
		status, text := r.replayOf(t)
		_, text, _ = strings.Cut(text, "<pre")
		printed, _, _ := strings.Cut(text, "</pre>")
		if status != http.StatusOK || !strings.Contains(printed, test.has) || strings.Contains(printed, test.hasNot) {
			t.Errorf("%s: %d, %s", test.route, status, text)
		}
		if !strings.Contains(strings.Join(strings.Fields(printed), " "), test.under) {
			t.Errorf("%q is not in %s", test.under, printed)
		}
	}
	write(t, r.path, strings.ReplaceAll(mustReadText(t, r.path), `name = "in"`, `name = "out"`))
	r.reloaded()
	if _, body := r.get("/"); strings.Contains(body, "replay?") {
		t.Errorf("a link to a replay under a route that is gone:\n%s", body)
	}
	for _, id := range []string{"none", "", "../x", "%3Cscript%3E"} {
		if status, text := r.get("/replay?session=" + id); status != http.StatusNotFound || strings.Contains(text, "<") {
			t.Errorf("%q: %d, %s", id, status, text)
		}
	}
}

func mustReadText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The file of a recording may be anything that somebody has put there.
func TestAReplayOfAHostileFileIsBounded(t *testing.T) {
	dir, listen := t.TempDir(), freeAddress(t)
	r := startRoute(t, listen, mailServer(t), mendsEveryName+"\n[route.record]\ndir = "+fmt.Sprintf("%q", dir))
	say := connect(t, listen)
	say("EHLO sub2.", "250")
	say("QUIT", "2")
	r.counts(`smtpshim_recordings_total{outcome="written",route="in"} 1`)
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	const hostile = "<script>alert(1)</script>"
	for name, test := range map[string]struct {
		text   string
		status int
	}{
		"no transcript":  {hostile, http.StatusNotFound},
		"octets":         {"-- dialogue --\nS: \x1b[2J\n", http.StatusNotFound},
		"much":           {"-- dialogue --\n" + strings.Repeat("C: NOOP\nS: 250 ok\n", maxReplayed/18), http.StatusNotFound},
		"many rules":     {"-- rules --\n" + strings.Repeat("no-such-rule\n", 1000) + "-- dialogue --\nS: 220 a\nC: EHLO b\nS: 550 " + hostile + "\n", http.StatusOK},
		"many lines":     {"-- dialogue --\nS: 220 a\n" + strings.Repeat("C: NOOP\nS: 250 a\n", 600), http.StatusNotFound},
		"many replies":   {"-- dialogue --\nS: 220 " + hostile + "\n" + strings.Repeat("C: EHLO "+hostile+".\nS: 550 "+hostile+"\n", 400), http.StatusOK},
		"text and lines": {hostile + "\n-- dialogue --\nS: 220 a\nC: MAIL FROM:<" + hostile + ">\nS: 250 ok\nC: DATA\nS: 354 go on\n~ message 99999999999999999999 bytes\nS: 250 ok\n", http.StatusOK},
	} {
		write(t, files[0], test.text)
		status, text := r.replayOf(t)
		if status != test.status {
			t.Errorf("%s: %d, %s", name, status, text)
		}
		_, link, _ := strings.Cut(mustGet(r, "/"), `href="replay?session=`)
		session, _, _ := strings.Cut(link, `"`)
		if _, raw := r.get("/replay?session=" + session); status == http.StatusOK && strings.Contains(raw, hostile) || strings.Contains(raw, "\x1b") {
			t.Errorf("%s: it is not only text: %s", name, raw)
		}
	}
}

func mustGet(r *running, path string) string {
	_, body := r.get(path)
	return body
}

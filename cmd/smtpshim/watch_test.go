package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/transcript"
)

// served are events as the admin listener has them, and then the end of the
// connection.
func served(w http.ResponseWriter, events ...journal.Event) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": a sign of life\n\n")
	for _, e := range events {
		data, _ := json.Marshal(e)
		fmt.Fprintf(w, "data: %s\n\n", data)
	}
}

// someEvents are those of a session that is healed and fails.
func someEvents() []journal.Event {
	e := journal.Entry{ID: "1a", Route: "in", Began: time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local)}
	line := func(l transcript.Line) journal.Event {
		return journal.Event{Kind: journal.Said, Entry: e, Line: journal.Line{Line: l}}
	}
	ended := e
	ended.End = proxy.Ending{Outcome: "server-lost", Messages: 1, Server: "192.0.2.25:25", Refused: proxy.Refusal{Verb: "MAIL", Code: 550, Text: "\x1b[2J", Means: "not you", Do: "log in"}, While: "waiting", Err: "\x1b[2J", Lasted: 1500 * time.Millisecond}
	return []journal.Event{
		{Kind: journal.Began, Entry: e},
		line(transcript.Line{Side: 'C', Mark: '+', Text: "EHLO sub2", Rule: "fix-hello-name"}),
		line(transcript.Line{Side: 'S', Mark: ':', Text: "250 \x1b[2J"}),
		line(transcript.Line{Text: "client TLS"}),
		{Kind: journal.Lost, Lost: 3},
		{Kind: "of a later version", Entry: e},
		{Kind: journal.Ended, Entry: ended},
	}
}

func TestWatchPrintsDialogues(t *testing.T) {
	asked := make(chan string, 10)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var visits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		if visits.Add(1) > 1 {
			end() // it has connected again
			return
		}
		served(w, someEvents()...)
	}))
	defer s.Close()
	var out, notes strings.Builder
	admin, err := adminAt(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	w := watching{url: eventsAt(admin, journal.Filter{Route: "in", Healed: true, Outcome: "failed"}), out: demoOutput{&out, false}, notes: &notes}
	if err := w.run(ctx); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "/events?healed=1&outcome=failed&route=in" {
		t.Errorf("asked for %s", got)
	}
	const want = `1a  ~ route in, client unknown, 12:00:00
1a  C+ EHLO sub2                                           fix-hello-name
1a  S: "250 \x1b[2J"
1a  ~ client TLS
-  ~ 3 events left out: this terminal is slower than the sessions
1a  ~ server-lost, 1 message, 1.5 s, server 192.0.2.25:25, MAIL: 550 "\x1b[2J"
       (not you; what to do: log in), waiting: "\x1b[2J"
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(notes.String(), "connecting again") {
		t.Errorf("noted %q", notes.String())
	}
}

func TestWatchSaysTheReasonOfAFailureAndWhatHealsIt(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		data, _ := json.Marshal(journal.Notice{Kind: journal.Ended, ID: "1a", Outcome: "refused",
			Refused: &journal.Refusal{Verb: "MAIL", Code: 550, Text: "no", Means: "not you", Do: "log in"},
			Causes:  []journal.Cause{{Means: "not you", Do: "log in"}, {Rule: "fix-hello-name", Means: "a name", Do: "add it\x1b[2J", Guess: true}}})
		fmt.Fprintf(w, "data: %s\n\n", data)
	}))
	defer s.Close()
	var out strings.Builder
	w := watching{url: s.URL, out: demoOutput{&out, false}, notes: io.Discard}
	if err := w.follow(t.Context(), func() {}); err == nil {
		t.Error("the connection was closed, and there is no error")
	}
	const want = `1a  ~ refused, 0 messages, 0.0 s, MAIL: 550 no
1a  ~ Means: not you. Do: log in
1a  ~ "Perhaps: a name. Do: add it\x1b[2J"
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWatchSaysWhyThereIsNothingToWatch(t *testing.T) {
	configDir(t)
	old := httptest.NewServer(http.NotFoundHandler())
	defer old.Close()
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer locked.Close()
	gone := "http://" + freeAddress(t)
	for _, c := range []struct {
		args   string
		status int
		err    string
	}{
		{"watch " + old.URL, failed, "404 Not Found"},
		{"watch " + old.URL, failed, "without a password"},
		{"watch " + locked.URL, failed, "write http://USER:PASSWORD@HOST:PORT"},
		{"watch " + strings.Replace(locked.URL, "//", "//anna:secret@", 1), failed, "//anna:xxxxx@"},
		{"watch " + gone, failed, "nobody listens at " + gone},
		{"watch " + strings.TrimPrefix(gone, "http://"), failed, "nobody listens at " + gone},
		{"watch " + mailServer(t), failed, "is no admin listener: an admin listener speaks HTTP"},
		{"watch example.com", misused, `"example.com" is no URL`},
		{"watch -config none.toml", failed, "reading none.toml"},
		{"watch -config everything.toml", failed, "turned off"},
		{"watch a b", misused, `"b" is one word too many`},
	} {
		if status, _, err := call(strings.Fields(c.args)...); status != c.status || !strings.Contains(err, c.err) {
			t.Errorf("%q: %d, %s", c.args, status, err)
		}
	}
}

// Whether the greeting comes before or behind the request, the message is the same.
func TestAServerThatSpeaksFirstIsNoAdminListener(t *testing.T) {
	at := &url.URL{Scheme: "http", Host: "127.0.0.1:25"}
	for _, err := range []error{errors.New(spokeFirst), errors.New(`malformed HTTP response "220 mail.example.com"`)} {
		if got := unanswered(at, &url.Error{Op: "Get", URL: at.String(), Err: err}); !strings.Contains(got.Error(), "what answers at http://127.0.0.1:25 is no admin listener") {
			t.Errorf("of %v: %v", err, got)
		}
	}
}

func TestWatchGoesWhereTheAdminListenerIs(t *testing.T) {
	events := func(base, config string) (string, error) {
		admin, err := adminAt(base, config)
		if err != nil {
			return "", err
		}
		return eventsAt(admin, journal.Filter{}), nil
	}
	t.Chdir(t.TempDir())
	for listen, want := range map[string]string{
		"127.0.0.1:1": "http://127.0.0.1:1/events", ":2": "http://localhost:2/events", "0.0.0.0:3": "http://localhost:3/events", "[::1]:4": "http://[::1]:4/events",
	} {
		write(t, "a.toml", fmt.Sprintf("admin.listen = %q\n", listen))
		if got, err := events("", "a.toml"); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", listen, got, err, want)
		}
	}
	if got, err := events("127.0.0.1:7", ""); got != "http://127.0.0.1:7/events" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := events("", ""); got != "http://127.0.0.1:9525/events" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := events("https://user:word@mail.example.com/shim/", ""); got != "https://user:word@mail.example.com/shim/events" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// TestWatchEndsWhenItIsToldTo interrupts it in the middle of a stream.
func TestWatchEndsWhenItIsToldTo(t *testing.T) {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served(w, someEvents()...)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	w := watching{url: s.URL, out: demoOutput{endsAfter{end, "server-lost"}, false}, notes: io.Discard}
	if err := w.run(ctx); err != nil {
		t.Error(err)
	}
}

// endsAfter calls end when a text has been written.
type endsAfter struct {
	end  func()
	text string
}

func (e endsAfter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), e.text) {
		e.end()
	}
	return len(b), nil
}

func TestWatchKnowsTheOutcomesThatThereAre(t *testing.T) {
	if status, _, err := call("watch", "-ended", "refussed", "http://127.0.0.1:1"); status != misused || !strings.Contains(err, `-ended: "refussed" is not one of "failed", "ok"`) {
		t.Errorf("%d, %q", status, err)
	}
	if status, _, err := call("watch", "-ended", "refused", "http://"+freeAddress(t)); status != failed || strings.Contains(err, "none of") {
		t.Errorf("%d, %q", status, err)
	}
}

func TestWatchNamesTheRoutesThereAre(t *testing.T) {
	r := start(t, freeAddress(t), mailServer(t))
	status, _, err := call("watch", "-route", "inn", r.admin)
	if want := `has no route "inn"; there is "in"; did you mean "in"?`; status != failed || !strings.Contains(err, want) {
		t.Errorf("%d, %q, want %q", status, err, want)
	}
}

package page

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// withReplay is source, whose session b can be played again.
func withReplay(play func(session string) (Replay, error)) Source {
	s := source()
	sessions := s.Sessions()
	for i := range sessions {
		sessions[i].Replays = true
	}
	s.Sessions, s.Replay = func() []Session { return sessions }, play
	return s
}

// replayed asks for a replay.
func replayed(t *testing.T, s Source, path string) (status int, text string) {
	t.Helper()
	response := get(s, path, "127.0.0.1:9525")
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestARecordingCanBePlayedFromThePage(t *testing.T) {
	s := withReplay(func(session string) (Replay, error) {
		if session != "b" {
			return Replay{}, errors.New("there is no such session")
		}
		return Replay{Route: "in", Text: "No rule would act.\n", Lines: said("S: 220 ready", "C- EHLO sub2.  # fix-hello-name", "C+ EHLO sub2  # fix-hello-name"),
			Unknown: "the server gets EHLO sub2"}, nil
	})
	_, root := look(t, s, "")
	if links := all(byID(t, root, "session-b"), "p", "actions"); len(links) != 1 || words(links[0]) != "Save the recording Replay it under the present rules" {
		t.Fatalf("%d lists of links", len(links))
	}
	for _, id := range []string{"a", "c", "z"} { // without a recording
		if links := all(byID(t, root, "session-"+id), "p", "actions"); len(links) != 0 {
			t.Errorf("%s: %s", id, words(links[0]))
		}
	}
	status, text := replayed(t, s, "/replay?session=b")
	root, err := html.Parse(strings.NewReader(text))
	if err != nil || status != http.StatusOK {
		t.Fatal(status, text, err)
	}
	got := words(root)
	for _, want := range []string{"Replay of session b", "No rule would act.", "C- EHLO sub2.", "C+ EHLO sub2", "Heals names with dots.", "From here on the dialogue is not known: the server gets EHLO sub2."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if strings.Contains(got, "+0.0") {
		t.Errorf("times that nobody knows are in %s", got)
	}
	if status, text := replayed(t, s, "/replay?session=%3Cb%3E"); status != http.StatusNotFound || strings.Contains(text, "<") {
		t.Errorf("of no such session: %d, %s", status, text)
	}
	if _, root := look(t, source(), ""); strings.Contains(words(root), "Replay") {
		t.Error("a replay is offered where none is played")
	}
	if status, _ := replayed(t, source(), "/replay?session=b"); status != http.StatusNotFound {
		t.Errorf("where none is played: %d", status)
	}
}

func TestAReplayIsPrintableAndBounded(t *testing.T) {
	for _, bytes := range hostile {
		s := withReplay(func(string) (Replay, error) {
			r := Replay{Route: "in", Text: bytes, Unknown: bytes}
			for range 1000 {
				r.Lines = append(r.Lines, Line{Side: 'C', Mark: ':', Text: bytes}, Line{Side: 'S', Mark: '-', Text: bytes, Rule: "fix-hello-name"}, Line{Text: bytes})
			}
			return r, nil
		})
		_, text := replayed(t, s, "/replay?session=b")
		for _, r := range text {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Errorf("%q: %q is on the page", bytes, r)
				break
			}
		}
		root, err := html.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(all(root, "script", "")) + len(all(root, "img", "")); n != 0 {
			t.Errorf("%q has become an element", bytes)
		}
		if n := len(all(root, "code", "")); n > 2*mostLines+20 {
			t.Errorf("%d lines are shown", n)
		}
	}
}

func TestOneRecordingIsPlayedAtATime(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	s := withReplay(func(session string) (Replay, error) {
		if session == "b" {
			close(began)
			<-goOn
		}
		return Replay{}, nil
	})
	page := New(s, http.NotFoundHandler())
	first := make(chan int, 1)
	go func() { first <- ask(page, "/replay?session=b") }()
	select {
	case <-began:
	case <-time.After(time.Minute):
		t.Fatal("the first is not played")
	}
	if status := ask(page, "/replay?session=c"); status != http.StatusServiceUnavailable {
		t.Errorf("the second: %d", status)
	}
	close(goOn)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	if status := ask(page, "/replay?session=c"); status != http.StatusOK {
		t.Errorf("then: %d", status)
	}
}

func TestAReplayIsForWhomThePageIs(t *testing.T) {
	s := withReplay(func(string) (Replay, error) { return Replay{}, nil })
	for host, status := range map[string]int{"127.0.0.1:9525": 200, "shim.example.com:9525": 421, "": 421} {
		response := get(s, "/replay?session=b", host)
		if response.StatusCode != status || !strings.Contains(response.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %s, %v", host, response.Status, response.Header)
		}
	}
	s.AnyHost = true
	if response := get(s, "/replay?session=b", "shim.example.com"); response.StatusCode != http.StatusOK {
		t.Errorf("with a password: %s", response.Status)
	}
}

package page

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A Replay is the result of playing a session's recording with the present
// configuration of its route.
type Replay struct {
	Route   string
	Text    string // the result in words, as "smtpshim play" prints it
	Lines   []Line // the resulting dialogue
	Unknown string // why the rest of the recording was not played; "": all of it was
}

// replayOf returns the link to the replay of a session; "": there is none.
func (p *page) replayOf(s *Session) string {
	if p.Replay == nil || !s.Replays {
		return ""
	}
	return "replay?" + url.Values{"session": {s.ID}}.Encode()
}

// replay plays the recording of the session that the query names. It plays one at a time,
// so that a client that opens many takes no more of the processor than for one.
func (p *page) replay(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("session")
	played, busy, err := p.playAlone(id)
	if busy {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "another replay is under way; try again in a moment", http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	played.Text = printable(played.Text)
	if played.Unknown != "" {
		played.Unknown = quoted(played.Unknown)
	}
	lines := played.Lines
	if more := len(lines) - mostLines; more > 0 {
		lines = append(lines[:mostLines:mostLines], Line{Text: fmt.Sprintf("%d more lines", more)})
	}
	p.execute(w, "replay.html", struct {
		ID string
		Replay
		Turns []turn
	}{id, played, untimed(turns(lines, p.Rule))})
}

// playAlone plays a session's recording unless another one is being played.
func (p *page) playAlone(session string) (played Replay, busy bool, err error) {
	select {
	case p.replaying <- struct{}{}:
		defer func() { <-p.replaying }()
		played, err = p.Replay(session)
		return played, false, err
	default:
		return Replay{}, true, nil
	}
}

// printable returns a text of lines with all octets quoted that are not printable ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r > '~') {
			return '?'
		}
		return r
	}, text)
}

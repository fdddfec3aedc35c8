package page

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A Replay is what came of the recording of a session, played under what its route has
// now.
type Replay struct {
	Route   string
	Text    string // as "smtpshim play" prints it
	Lines   []Line // the dialogue as it would be
	Unknown string // why the recording does not tell how it goes on; ""
}

// replayOf is where the replay of a session is to be had; "": nowhere.
func (p *page) replayOf(s *Session) string {
	if p.Replay == nil || !s.Replays {
		return ""
	}
	return "replay?" + url.Values{"session": {s.ID}}.Encode()
}

// replay plays the recording of the session that the query names. It plays one at a
// time: whoever opens many has the processor no longer than for one.
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
	}{id, played, untimed(turns(lines, p.Rules))})
}

// playAlone plays a session unless another one is being played.
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

// printable is a text in lines without what is no printable ASCII.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r > '~') {
			return '?'
		}
		return r
	}, text)
}

package main

import (
	"bytes"
	"fmt"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics/page"
	"smtpshim/proxy/dialogues"
	player "smtpshim/rewrite/play"
)

// The limits of recordings that the page plays: octets, and lines of the dialogue. A
// recording of ours has about 32 KiB of lines, at most 512 lines, and as much prose.
const (
	maxReplayed      = 256 << 10
	maxReplayedLines = 1000
)

// shownReplay plays the recording of a session with the present configuration of its
// route.
func (p *instance) shownReplay(session string) (page.Replay, error) {
	e, err := p.lastEnded(session)
	if err != nil {
		return page.Replay{}, err
	}
	r := p.config.Load().Route(e.Route)
	if r == nil {
		return page.Replay{}, fmt.Errorf("the route %q of the session is not configured any more, and what it would do is not known", e.Route)
	}
	name, text, err := p.shownRecording(session)
	if err != nil {
		return page.Replay{}, err
	}
	return replay(name, text, r)
}

// replay plays a recording and describes the result as "smtpshim play" does.
func replay(name string, text []byte, r *config.Route) (page.Replay, error) {
	shown := page.Replay{Route: r.Name}
	if len(text) > maxReplayed {
		return shown, fmt.Errorf("the recording has %d octets, and here at most %d are played; save it, and have \"smtpshim play\" do it", len(text), maxReplayed)
	}
	of := newPlayed(name, underPresent("the route "+r.Name+" as it is now", r), nil)
	of.where = "below"
	of.each = func(_ *played, _ *dialogues.Dialogue, r *player.Result) {
		shown.Lines, shown.Unknown = shownLines(r.Lines), r.Unknown.Why
	}
	err := dialogues.Read(name, bytes.NewReader(text), func(d *dialogues.Dialogue) error {
		if n := len(d.Dialogue); n > maxReplayedLines {
			return fmt.Errorf("it has %d lines, and here at most %d are played; save it, and have \"smtpshim play\" do it", n, maxReplayedLines)
		}
		return of.dialogue(d)
	})
	if err != nil {
		return shown, fmt.Errorf("the recording cannot be played: %w", err)
	}
	of.explain(sessionExplainer())
	var b strings.Builder
	w := playWriter{out: &b}
	if w.file(of); len(r.LoginEntries) > 0 {
		fmt.Fprintln(&b)
		entry(&b, 2, "", 2, "Logins that end at smtpshim are not played: from such a one on it is not known what the server would say.")
	}
	shown.Text = b.String()
	return shown, nil
}

package play

import (
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// Delivered plays a file and returns the dialogue as it is on the wire: each line that is
// said and each that is delivered, with credentials. What the dialogue never waits for is
// in it as such. The listener, which may be a Tracer, hears the dialogue, and ended is
// called at its end, before it is closed.
//
// The peers say all that the file has, whatever they are told: a test compares the
// dialogue that comes of it with the file.
func Delivered(f *transcript.File, policy *rewrite.Policy, l rewrite.Listener, ended func(*rewrite.Dialogue)) []transcript.Line {
	w := &wire{}
	p := newPlayer(f, policy, l, w)
	defer p.d.Close()
	p.play(f.Settings["begins"])
	ended(p.d)
	for _, l := range p.left() {
		line := l.String()
		if l.Mark = transcript.Removed; l.Side == 0 || p.d.Next(false) != rewrite.End {
			l = transcript.Line{Text: "never waited for: " + line}
		}
		w.passed(l)
	}
	return w.heard
}

// wire writes down what comes out of a dialogue.
type wire struct{ heard []transcript.Line }

func (w *wire) fed(client, server, toServer, toClient []string) {
	first, second := transcript.Diff(transcript.Client, client, toServer, ""), transcript.Diff(transcript.Server, nil, toClient, "")
	if server != nil {
		first, second = transcript.Diff(transcript.Server, server, toClient, ""), transcript.Diff(transcript.Client, nil, toServer, "")
	}
	w.heard = append(append(w.heard, first...), second...)
}

func (w *wire) event(what string)        { w.heard = append(w.heard, transcript.Line{Text: what}) }
func (w *wire) lost(what string)         { w.event(what) }
func (w *wire) passed(l transcript.Line) { w.heard = append(w.heard, l) }
func (w *wire) goesOn() bool             { return true }
func (w *wire) replies([]string)         {}
func (w *wire) says(string) bool         { return true }

package play

import (
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// Delivered plays f under policy and returns the dialogue on the wire: each line said and
// each line delivered, with credentials. Both peers say all that f has, whatever they are
// told. Lines of f for which the dialogue never waits are in the result too. l, which may
// be a Tracer, is told of the dialogue. ended is called at its end, before it is closed.
// A test compares the result with f.
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

// A wire records the output of a dialogue.
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

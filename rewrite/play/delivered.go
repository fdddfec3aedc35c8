package play

import (
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// Delivered plays f under policy and returns the dialogue on the wire: each line said
// and each line delivered, with credentials. Unlike Play, it does not stop if a peer is
// told something else than in f. At the end of the result are the lines that a peer
// says in f and that the dialogue has not read. Tests compare the result with f.
//
// The dialogue reports to listener, which may be a Tracer. Delivered calls ended with
// the dialogue after the last line, before it closes the dialogue.
func Delivered(f *transcript.File, policy *rewrite.Policy, listener rewrite.Listener, ended func(*rewrite.Dialogue)) []transcript.Line {
	w := &wire{}
	p := newPlayer(f, policy, listener, w)
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

package proxy

import (
	"errors"
	"fmt"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// maxDefect is how many octets of a panic's value are logged.
const maxDefect = 1000

// reportDefect logs a defect. Attrs tell where it happened, as for slog.Logger.Log.
// A panic of the log itself has nowhere to go.
func (p *Proxy) reportDefect(d *wire.Defect, doing string, attrs ...any) {
	wire.Contain(func() {
		panicked, stack := d.Value, d.Stack
		if of, ok := panicked.(*rewrite.Panic); ok { // from the coroutine of a turn
			panicked, stack = of.Value, of.Stack
		}
		value := fmt.Sprint(panicked)
		attrs := append(attrs, "while", doing, "panic", printable(value[:min(len(value), maxDefect)]), "stack", stack)
		p.logger().Error("a defect of smtpshim; please report this line", attrs...)
	})
}

// errDefect is why a session ended that met a defect. The panic's value stays in the
// log: nobody knows what it holds.
var errDefect = errors.New("a panic in smtpshim, whose stack is in the log")

// hold runs f, a stretch of the session: to the end of the session, or until it is
// idle. After a panic it ends the session.
func (s *session) hold(f func()) {
	s.runner.Runs(s)
	for d := wire.Contain(f); d != nil; d = wire.Contain(s.finish) { // finish goes on behind the step that panicked
		s.defective(d)
	}
}

// guard runs f, part of the session, on another goroutine than the session's. After
// a panic it closes both connections, so that the session ends.
func (s *session) guard(f func()) {
	if d := wire.Contain(f); d != nil {
		s.Lose(d)
	}
}

// Lose ends the session for a defect that another goroutine, or the loop, has met.
func (s *session) Lose(d *wire.Defect) {
	s.lost.CompareAndSwap(nil, d)
	s.kill()
}

// kill closes the client's connection and the server's, from another goroutine:
// whatever waits on them fails. A message under way ends without its dot.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Cut()
	}
	if s.dialling != nil {
		s.dialling.Close()
	}
	if s.server != nil {
		s.server.Cut()
	}
}

// defective is what becomes of the session for a defect: finish does the rest. Only
// the first of a session is told of.
func (s *session) defective(d *wire.Defect) {
	s.runner.Spoil()
	s.outcome, s.err = vocabulary.OutcomeDefect, errDefect
	if s.isDefective {
		return
	}
	s.isDefective = true
	attrs := []any{"route", s.route.Name, s.caller()}
	if s.id != "" {
		attrs = append(attrs, "session", s.id)
	}
	s.proxy.reportDefect(d, s.while, attrs...)
	wire.Contain(s.countDefect)
	wire.Contain(s.apologize)
	for _, l := range []*wire.Leg{s.client, s.server} {
		if l != nil {
			l.Forget()
		}
	}
}

func (s *session) countDefect() {
	o := s.route.Observer
	if o == nil {
		return
	}
	o.Defect()
	if s.dialogue != nil && s.dialogue.Awaited() == rewrite.VerbMessage && !s.unsure {
		s.unknown()
	}
}

// apologize tells the client, where it can hear it: nowhere else than where a reply
// may begin. What it has not been told yet it is not told any more: the dialogue may
// have been in the middle of it.
func (s *session) apologize() {
	inClear := s.route.ClientTLS.Mode == rewrite.ClientTLSImplicit && s.sum.clientTLS == ""
	if s.client == nil || s.client.Broken || s.mute || inClear || s.finished > 0 || s.lost.Load() != nil {
		return
	}
	if s.client.Write([]byte("421 4.3.0 internal error\r\n"), refusalWait) == nil && s.route.Observer != nil {
		s.route.Observer.Reply(421)
	}
}

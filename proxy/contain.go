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

// reportDefect logs a defect of smtpshim, which is a panic. attrs say where it happened,
// as for slog.Logger.Log. A panic of the logger itself cannot be reported.
func (p *Proxy) reportDefect(d *wire.Defect, doing string, attrs ...any) {
	wire.Contain(func() {
		panicked, stack := d.Value, d.Stack
		if of, ok := panicked.(*rewrite.Panic); ok { // the coroutine of a turn has panicked
			panicked, stack = of.Value, of.Stack
		}
		value := fmt.Sprint(panicked)
		attrs := append(attrs, "while", doing, "panic", printable(value[:min(len(value), maxDefect)]), "stack", stack)
		p.logger().Error("a defect of smtpshim; please report this line", attrs...)
	})
}

// errDefect is the error of a session that a defect has ended. It does not contain the
// panic's value, because that may hold anything. Only the log has the value.
var errDefect = errors.New("a panic in smtpshim, whose stack is in the log")

// hold runs f, which runs the session until it ends or is idle. If f panics, hold ends the
// session.
func (s *session) hold(f func()) {
	s.runner.Runs(s)
	// If finish panics, the next call continues after the step that panicked.
	for d := wire.Contain(f); d != nil; d = wire.Contain(s.finish) {
		s.defective(d)
	}
}

// guard runs f, a part of the session, on a goroutine other than the session's. If f
// panics, guard closes the connections to client and server, so that the session ends.
func (s *session) guard(f func()) {
	if d := wire.Contain(f); d != nil {
		s.Lose(d)
	}
}

// Lose ends the session because of d, a panic in the loop or on a goroutine other than
// the session's. It records d and closes the session's connections.
func (s *session) Lose(d *wire.Defect) {
	s.lost.CompareAndSwap(nil, d)
	s.kill()
}

// kill closes the connections to client and server, also one that is being made, so that
// reads and writes fail. Any goroutine may call it. A message in transit ends without its
// final dot.
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

// defective records that a defect ends the session; finish does the rest. Only the first
// defect of a session is reported.
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

// apologize sends the client a 421 if a reply may begin at this point. Replies that are not
// written yet are never written, because the dialogue may have been in the middle of one.
func (s *session) apologize() {
	inClear := s.route.ClientTLS.Mode == rewrite.ClientTLSImplicit && s.sum.clientTLS == ""
	if s.client == nil || s.client.Broken || s.mute || inClear || s.finished > 0 || s.lost.Load() != nil {
		return
	}
	if s.client.Write([]byte("421 4.3.0 internal error\r\n"), refusalWait) == nil && s.route.Observer != nil {
		s.route.Observer.Reply(421)
	}
}

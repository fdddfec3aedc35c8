package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A session is one client, one server and the dialogue between them. It serves the two in
// turn, on one coroutine of a loop, or on one goroutine where there is no loop. Only two
// things need a second goroutine: an opaque session, and a long message where there is no
// loop. An idle session in a loop has neither coroutine nor goroutine: see waitIdle.
type session struct {
	proxy  *Proxy
	route  *running
	runner *wire.Runner // runs the session in a loop; nil: the session runs on a goroutine
	id     string
	log    *slog.Logger

	mu             sync.Mutex // guards these three: other goroutines may end the session
	client, server *wire.Leg  // server is nil while there is no connection to a server
	dialling       io.Closer  // the connection that is being made in the loop; nil: none

	began       time.Time
	address     netip.Addr       // of the client; invalid: not known
	ends        header.Ends      // of the client's connection; none if a PROXY header had none
	balancer    netip.Addr       // the load balancer that sent a PROXY header; zero: none did
	introducer  netip.Addr       // the peer that has named the client by XCLIENT; zero: none has
	listener    DialogueListener // is told the dialogue; may be nil
	network     netip.Prefix     // the client's network, for which the session counts; zero: none
	serverName  string           // the address of the server that has greeted; "": none has
	destination string           // the client's original destination; "": use Route.Servers
	hops        []hop            // the connections recorded by addHop
	standing    *servers.Server  // the server for which the session counts; nil: none
	dialogue    *rewrite.Dialogue

	claimed   int32 // octets of a PROXY header that the client has begun with; -1: it has not
	hasOpened bool  // it is decided whether the client begins with TLS
	draining  atomic.Bool

	closing atomic.Bool // one direction of an opaque session has failed

	lost atomic.Pointer[wire.Defect] // a panic of this session on another goroutine

	// now is when the last wait ended. It stands for the present time until the next wait.
	now time.Time
	// idleUntil is the deadline of the client's next line, as the time from began. It is 0
	// if the session has not been idle since the last line.
	idleUntil time.Duration
	asked     time.Duration // when the server got the oldest unanswered command, from began
	waits     uint32        // counts waits, for a sample of them: see tellHeld

	// The small fields stand together, so that they share a word or two.
	answered    bool         // the server has replied to all commands, and got nothing since
	unsure      bool         // the reply to a message was lost: the server may have accepted it
	cut         bool         // the session failed because we closed a connection: see kill
	recipient   bool         // a recipient was accepted in the present transaction
	taken       bool         // LMTP: the message was accepted for at least one recipient
	long        rewrite.Verb // the verb of the last line that was too long
	announces   bool         // that line announced more octets: see rewrite.Announces
	entered     bool         // the session no longer counts in Proxy.arriving
	placed      bool         // the session counts in Proxy.census
	early       bool         // the server was shown that the client spoke before the greeting
	classic     bool         // TLS with the server succeeded only without ML-KEM
	begun       bool         // the observer was told that the session began
	mute        bool         // the client cannot read a reply: TLS begins, or all is opaque
	isDefective bool         // a panic has ended the session
	finished    uint8        // how many steps of finish have begun
	auth        [2]uint8     // the mechanisms of logins, by side: see mechanism

	outcome  vocabulary.Outcome // "" while the session runs
	while    string             // what is being done
	err      error              // the first error
	sum      summary
	refusals refusals
	text     chunkText // a message that comes by BDAT and is sent by DATA
	serverIn int64     // octets read from connections to servers that are closed now
}

// errEnded says that the session has its outcome and must stop.
var errEnded = errors.New("session ended")

// run runs the session from the server's greeting to its end, or until it is idle.
func (s *session) run() {
	for s.outcome == "" {
		switch err := s.step(); {
		case err == errIdle:
			return // another goroutine may have resumed the session already
		case err != nil:
			s.finish()
			return
		}
	}
	s.finish()
}

// step does the one thing for which the dialogue waits next.
func (s *session) step() error {
	d := s.dialogue
	if d.ServerGone() {
		s.closeServer()
	}
	switch d.Next(s.client.Line() != nil) {
	case rewrite.AwaitServer:
		return s.connect()
	case rewrite.AwaitCommand:
		if s.answered && s.server != nil && len(s.server.Buffered()) > 0 {
			return s.unasked(nil) // the server sent more than one reply to a command
		}
		return s.command()
	case rewrite.AwaitSASL:
		return s.saslLine()
	case rewrite.AwaitReply:
		return s.reply()
	case rewrite.AwaitMessage:
		return s.message(true)
	case rewrite.AwaitDiscard:
		return s.message(false)
	case rewrite.AwaitChunk:
		return s.chunk(true)
	case rewrite.AwaitChunkDiscard:
		return s.chunk(false)
	case rewrite.AwaitChunkText:
		return s.chunkText()
	case rewrite.AwaitClientTLS:
		return s.clientTLS()
	case rewrite.AwaitServerTLS:
		return s.serverTLS()
	case rewrite.AwaitOctets:
		return s.octets()
	case rewrite.AwaitAdmission:
		return s.admission()
	case rewrite.AwaitWork:
		return s.work()
	case rewrite.Opaque:
		return s.opaque()
	default:
		return s.end()
	}
}

// command reads the client's next line and gives it to the dialogue.
func (s *session) command() error {
	if !s.dialogue.Parting() { // else keep what was being done when the session failed
		s.while = "waiting for a command"
	}
	if s.draining.Load() && s.dialogue.Idle() {
		return s.drained()
	}
	line, err := s.clientLine(s.commandLimit)
	switch {
	case err == errTooLong:
		if s.dialogue.TooLong(s.announces) {
			s.unfit(s.long, s.tooLong())
			s.client.Consume(len(line))
		}
		return nil
	case err != nil:
		return err
	case line == nil:
		return nil // the server sent something, or the proxy is draining
	}
	if s.pretends(line) {
		return s.unmask()
	}
	ahead := len(s.client.Buffered()) > len(line)
	if s.dialogue.Command(line, ahead) {
		if why := whyUnfit(line); why != nil {
			s.unfit(spelt(line), why)
		}
		s.client.Consume(len(line))
	}
	return nil
}

// by returns the deadline of a wait that begins now. It is never later than the deadline of
// the session.
func (s *session) by(allowed time.Duration) time.Time {
	end, last := s.now.Add(allowed), s.began.Add(s.route.Timeouts.session())
	if end.After(last) {
		return last
	}
	return end
}

// drained ends an idle session because the proxy is draining.
func (s *session) drained() error {
	s.dialogue.Finish(drainingText)
	s.flushClient()
	if s.dialogue.Failure() != "" {
		return s.failure()
	}
	return s.over(vocabulary.OutcomeDrained, nil)
}

const drainingText = "421 4.3.2 the service is being shut down"

// saslLine reads the client's next line of an AUTH exchange and gives it to the dialogue.
func (s *session) saslLine() error {
	s.while = "waiting for a SASL line"
	limit := max(s.route.Limits.commandLine(), s.route.Limits.saslLine())
	line, err := s.clientLine(func([]byte) int { return limit })
	switch {
	case err == errTooLong:
		s.limited(vocabulary.LimitSASLLine)
		s.dialogue.SASL(nil)
		s.unfit(rewrite.VerbAUTH, errTooLongFor("a SASL line", "limits.sasl_line", limit))
		return nil
	case err != nil:
		return err
	case line == nil:
		return nil
	}
	s.dialogue.SASL(line)
	if why := whyUnfit(line); why != nil {
		s.unfit(rewrite.VerbAUTH, why)
	}
	s.client.Consume(len(line))
	return nil
}

// octets waits for the first octets after an AUTH exchange, at least four or a line, and gives
// them to the dialogue.
func (s *session) octets() error {
	s.while = "waiting for the first octets after AUTH"
	deadline := s.commandBy()
	for len(s.client.Buffered()) < 4 && s.client.Line() == nil {
		if ready, err := s.awaitClient(deadline); err != nil || !ready {
			return err
		}
	}
	s.idleUntil = 0
	b := s.client.Buffered()
	s.dialogue.Octets(b[:min(len(b), 16)])
	return nil
}

// errTooLong says that a line exceeds its limit. The line is returned with it, or what is
// left of the line.
var errTooLong = errors.New("line too long")

// clientLine waits for a line of the client. limit returns how many octets the line may
// have, given those that have come so far. If clientLine returns neither a line nor an
// error, something else has come first.
func (s *session) clientLine(limit func(b []byte) int) ([]byte, error) {
	deadline := s.commandBy()
	for {
		if line := s.client.Line(); line != nil {
			s.idleUntil = 0
			if len(line) > limit(line) {
				s.long, s.announces = spelt(line), rewrite.Announces(line)
				return line, errTooLong
			}
			return line, nil
		}
		if b := s.client.Buffered(); len(b) >= limit(b) {
			return s.dropLine(deadline)
		}
		if ready, err := s.awaitClient(deadline); err != nil || !ready {
			return nil, err
		}
	}
}

// dropLine reads and drops a line that is too long, up to its last part, which it returns. A
// client that sends more than maxDroppedLine octets without a line end does not speak SMTP:
// dropLine ends the session.
func (s *session) dropLine(deadline time.Time) ([]byte, error) {
	s.long, s.announces = spelt(s.client.Buffered()), rewrite.Announces(s.client.Buffered())
	for dropped := 0; dropped < maxDroppedLine; {
		if line := s.client.Line(); line != nil {
			return line, errTooLong
		}
		dropped += len(s.client.Buffered())
		s.client.Consume(len(s.client.Buffered()))
		if err := s.fill(s.client, deadline); err != nil && !s.client.Interrupted(err) {
			return nil, s.clientFailed(err)
		}
	}
	limit := vocabulary.LimitCommandLine
	if s.dialogue.Next(false) == rewrite.AwaitSASL {
		limit = vocabulary.LimitSASLLine
	}
	s.limited(limit)
	s.dialogue.Finish("421 4.7.0 line without an end")
	s.flushClient()
	return nil, s.over(vocabulary.OutcomeClientProtocol, errors.New("a line without an end"))
}

const maxDroppedLine = 1 << 20

// awaitClient flushes both sides and waits until the client has sent something. After
// watchAfter it also watches the server. ready is false if the server sent something first,
// or if the wait was interrupted because the proxy is draining.
func (s *session) awaitClient(limit time.Time) (ready bool, err error) {
	if err := s.flush(); err != nil {
		return false, err
	}
	quick := s.now.Add(watchAfter)
	if quick.After(limit) || s.server == nil {
		quick = limit
	}
	err = s.fill(s.client, quick)
	if err == nil {
		return true, nil
	}
	if s.client.Interrupted(err) {
		return false, nil
	}
	if !isTimeout(err) || quick == limit {
		return false, s.clientFailed(err)
	}
	return s.awaitBoth(limit)
}

// watchAfter is how long a client must be silent before the server is watched. A session
// that is busy then never pays for it.
const watchAfter = 100 * time.Millisecond

// awaitBoth waits until the client or the server sends something.
func (s *session) awaitBoth(limit time.Time) (ready bool, err error) {
	if s.server.Spoke() { // a wait would not see what TLS has read already
		return false, s.unasked(nil)
	}
	if s.waitIdle(limit) {
		return false, errIdle
	}
	defer s.offLoop()()
	w := wire.StartWatch(s.server, s.client.Interrupt)
	err = s.fill(s.client, limit)
	spoke, serverErr := w.Stop()
	switch {
	case spoke:
		return false, s.unasked(serverErr)
	case err == nil:
		return true, nil
	case s.client.Interrupted(err):
		return false, nil
	}
	return false, s.clientFailed(err)
}

// unasked handles what the server sent while the client's next line was awaited. If err is
// not nil, the server's connection failed instead.
func (s *session) unasked(err error) error {
	if err != nil {
		s.trouble(err)
		s.failed(vocabulary.ServerLost)
		s.dialogue.Lost()
		return nil
	}
	if s.saidNothing() {
		return nil
	}
	raw, err := s.readReply(min(lastWords, s.route.Timeouts.reply()))
	if err == nil && s.text.open && raw[0] >= '4' && !bytes.HasPrefix(raw, []byte("421")) {
		s.text.refusal = bytes.Clone(raw) // the reply to the next chunk
		s.closeServer()
		return nil
	}
	if err == errDropped || err == nil && s.dialogue.Outstanding() == 0 && s.lastWord() {
		return nil
	}
	return s.replied(raw, err)
}

// clientFailed ends the session because the client's connection failed or timed out.
func (s *session) clientFailed(err error) error {
	late := isTimeout(err)
	if err == errSlow {
		s.limited(vocabulary.LimitMessageRate)
	}
	if late {
		s.dialogue.Finish(s.lateText(err))
		s.flushClient()
	}
	switch {
	case s.dialogue.Failure() != "": // the dialogue has ended, and knows why
		return s.failure()
	case late:
		return s.over(vocabulary.OutcomeClientTimeout, err)
	case s.saidNothingYet(err):
		return s.over(vocabulary.OutcomeSilent, nil)
	}
	return s.over(vocabulary.OutcomeClientLost, err)
}

// lateText returns the reply to a client that is too slow.
func (s *session) lateText(err error) string {
	switch {
	case err == errSlow:
		return "421 4.4.2 the message comes too slowly"
	case s.dialogue.Next(false).OfMessage():
		return "421 4.4.2 no more of the message in time"
	}
	return "421 4.4.2 no command in time"
}

// over sets the outcome, unless there is one, and records the error. It returns errEnded.
func (s *session) over(outcome vocabulary.Outcome, err error) error {
	if s.outcome == "" {
		s.outcome = outcome
		s.trouble(err)
		if s.cut && outcome != vocabulary.OutcomeOK {
			s.outcome = vocabulary.OutcomeCutOff // we ended it, not a peer
		}
	}
	return errEnded
}

// trouble keeps the first error for the log. It ignores io.EOF, and all errors once we have
// closed a connection ourselves.
func (s *session) trouble(err error) {
	s.cut = s.cut || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
	if s.err == nil && err != nil && err != io.EOF && !s.cut {
		s.err = err
	}
}

// end ends the session because the dialogue has ended.
func (s *session) end() error {
	if s.dialogue.Failure() != "" {
		s.failure()
	}
	s.flush()
	return s.over(vocabulary.OutcomeOK, nil)
}

// failure ends the session with the outcome and the reason that the dialogue has for it. The
// log gives the reason after the first error, if there was one.
func (s *session) failure() error {
	reason := errors.New(s.dialogue.Reason())
	if s.err != nil && s.outcome == "" && !s.cut {
		s.err = fmt.Errorf("%w; then %w", s.err, reason)
	}
	return s.over(s.dialogue.Failure(), reason)
}

func (s *session) closeServer() {
	if s.server != nil {
		s.serverIn += s.server.Total
		s.server.Close()
		s.setServer(nil)
	}
}

func (s *session) setServer(l *wire.Leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = l
}

func (s *session) setDialling(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialling = c
}

func isTimeout(err error) bool { return wire.IsTimeout(err) || err == errSlow }

// setClient replaces the client's leg. Nothing may be buffered in the old one.
func (s *session) setClient(l *wire.Leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Total = s.client.Total
	s.client = l
}

// wake interrupts the wait for the client. It may be called by any goroutine.
func (s *session) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Interrupt()
	}
}

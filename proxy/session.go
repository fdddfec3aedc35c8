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

// A session is one client, one server and the dialogue between them. It takes turns
// between the two, on a coroutine of a loop, or on a goroutine where there is no loop;
// only an opaque stretch, and without a loop a long message, have a goroutine more. An
// idle session in a loop has nothing to run on: see waitIdle.
type session struct {
	proxy  *Proxy
	route  *running
	runner *wire.Runner // that it runs on, in a loop; nil: it runs on a goroutine
	id     string
	log    *slog.Logger

	mu             sync.Mutex // of client and server, against other goroutines that end the session
	client, server *wire.Leg  // server is nil until there is one
	dialling       io.Closer  // nil: nobody is dialled in the loop

	began       time.Time
	address     netip.Addr
	ends        header.Ends      // of the client's connection; none if a balancer's header had none
	balancer    netip.Addr       // whose PROXY header said so; zero: nobody's
	introducer  netip.Addr       // who has named the client by XCLIENT; zero: nobody
	listener    DialogueListener // nil: nobody wants its dialogue
	network     netip.Prefix     // what it is counted for; zero until it is
	serverName  string           // of Route.Servers
	destination string           // where the client was going; "": to Route.Servers
	hops        []hop            // to original destinations
	standing    *servers.Server  // of the server that it counts for; nil: none yet
	dialogue    *rewrite.Dialogue

	claimed   int32 // octets of a PROXY header that the client began with; -1: it did not
	hasOpened bool  // the client has begun TLS, or will not before its greeting
	draining  atomic.Bool

	closing atomic.Bool // one way of an opaque stretch has failed

	lost atomic.Pointer[wire.Defect] // a panic that another goroutine has met for it

	now       time.Time     // when the last wait ended: until the next, no time passes to speak of
	idleUntil time.Duration // from began, while the client's next line is waited for by waitIdle; 0: it is not
	asked     time.Duration // from began, when the server was given what it has not answered
	waits     uint32        // so far, from anywhere

	// These share a word or two.
	answered    bool         // the server has answered all, and was given nothing since
	unsure      bool         // a message's answer was lost: the server may have it
	cut         bool         // what went wrong is that we have closed: see kill
	recipient   bool         // one was accepted in this transaction
	taken       bool         // the message was, for one recipient of LMTP
	long        rewrite.Verb // that began the last line that was too long
	announces   bool         // that line announced text
	entered     bool         // the Proxy's arriving does not count it any more
	placed      bool         // the census counts it
	early       bool         // the server was shown that the client spoke before its greeting
	classic     bool         // TLS with the server had to do without ML-KEM
	begun       bool         // the observer has heard of it
	mute        bool         // the client could not read a reply: TLS begins, or the stretch is opaque
	isDefective bool         // a panic has ended it
	finished    uint8        // how many steps of finish have begun
	auth        [2]uint8     // by what the client has logged in, and somebody at the server: see mechanism

	outcome  vocabulary.Outcome // "" while it runs
	while    string             // what is being done
	err      error              // what went wrong
	sum      summary
	refusals refusals
	text     chunkText // of a message that came by BDAT and goes by DATA
	serverIn int64     // octets from connections to the server that are closed
}

// errEnded says that the session has an outcome and nothing more is to be done.
var errEnded = errors.New("session ended")

// run is the session, from the server's greeting to the end.
func (s *session) run() {
	for s.outcome == "" {
		switch err := s.step(); {
		case err == errIdle:
			return // from here on it is somebody else's
		case err != nil:
			s.finish()
			return
		}
	}
	s.finish()
}

// step does what the dialogue waits for next.
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
			return s.unasked(nil) // more than one reply to a command
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
	if !s.dialogue.Parting() { // or what was being done has ended the session
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
		return nil // the server spoke, or we are to leave
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

// by is the end of a wait that may take so long, or that of the session if it
// comes first.
func (s *session) by(allowed time.Duration) time.Time {
	end, last := s.now.Add(allowed), s.began.Add(s.route.Timeouts.session())
	if end.After(last) {
		return last
	}
	return end
}

// drained asks an idle client to leave.
func (s *session) drained() error {
	s.dialogue.Finish(drainingText)
	s.flushClient()
	if s.dialogue.Failure() != "" {
		return s.failure()
	}
	return s.over(vocabulary.OutcomeDrained, nil)
}

const drainingText = "421 4.3.2 the service is being shut down"

// saslLine passes on a line of an AUTH exchange.
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

// octets waits for what follows an AUTH exchange: four octets, or a line.
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

// errTooLong is a line over the limit, given with it as far as it is there still.
var errTooLong = errors.New("line too long")

// clientLine waits for a line of the client's, which may have as many octets as limit
// says of those that have come so far. nil without an error means that something else
// has come first.
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

// dropLine reads the rest of a line that is too long, up to a bound: beyond it
// the client is no SMTP client. What comes with its end is not dropped yet.
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

// awaitClient flushes both sides and waits until the client has sent something.
// After a short while the server is watched too: ready is false if it spoke, or
// if the session is to leave.
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

// watchAfter is how long a client is silent before the server is watched: long
// enough that a busy session never pays for it.
const watchAfter = 100 * time.Millisecond

// awaitBoth waits for whoever speaks first.
func (s *session) awaitBoth(limit time.Time) (ready bool, err error) {
	if s.server.Spoke() { // what TLS has read already, nobody else would see
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

// unasked deals with what the server said, or its hanging up, while the client
// was to speak.
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
		s.text.refusal = bytes.Clone(raw) // to be given as the answer to the next chunk
		s.closeServer()
		return nil
	}
	if err == errDropped || err == nil && s.dialogue.Outstanding() == 0 && s.lastWord() {
		return nil
	}
	return s.replied(raw, err)
}

// clientFailed ends the session for want of a client.
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
	case s.dialogue.Failure() != "": // it has nothing more to wait for
		return s.failure()
	case late:
		return s.over(vocabulary.OutcomeClientTimeout, err)
	case s.saidNothingYet(err):
		return s.over(vocabulary.OutcomeSilent, nil)
	}
	return s.over(vocabulary.OutcomeClientLost, err)
}

// lateText is what a client hears that is too slow.
func (s *session) lateText(err error) string {
	switch {
	case err == errSlow:
		return "421 4.4.2 the message comes too slowly"
	case s.dialogue.Next(false).OfMessage():
		return "421 4.4.2 no more of the message in time"
	}
	return "421 4.4.2 no command in time"
}

// over sets the outcome; the first one stays.
func (s *session) over(outcome vocabulary.Outcome, err error) error {
	if s.outcome == "" {
		s.outcome = outcome
		s.trouble(err)
		if s.cut && outcome != vocabulary.OutcomeOK {
			s.outcome = vocabulary.OutcomeCutOff // nobody else's doing
		}
	}
	return errEnded
}

// trouble keeps the first error for the log. Where we have closed it is none.
func (s *session) trouble(err error) {
	s.cut = s.cut || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
	if s.err == nil && err != nil && err != io.EOF && !s.cut {
		s.err = err
	}
}

// end is the end that the dialogue has come to.
func (s *session) end() error {
	if s.dialogue.Failure() != "" {
		s.failure()
	}
	s.flush()
	return s.over(vocabulary.OutcomeOK, nil)
}

// failure is the end for which the dialogue has a reason, which comes behind
// the trouble that there may have been before.
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

// setClient changes the client's leg; the one before must be empty.
func (s *session) setClient(l *wire.Leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Total = s.client.Total
	s.client = l
}

// wake ends the wait for an idle client, from another goroutine.
func (s *session) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Interrupt()
	}
}

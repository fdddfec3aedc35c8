package proxy

import (
	"errors"
	"io"
	"log/slog"
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
	answered     bool         // the server has replied to all commands, and got nothing since
	unsure       bool         // the reply to a message was lost: the server may have accepted it
	cut          bool         // the session failed because we closed a connection: see kill
	recipient    bool         // a recipient was accepted in the present transaction
	taken        bool         // LMTP: the message was accepted for at least one recipient
	chunkRefused bool         // a chunk of the present message was refused, and the message is counted
	long         rewrite.Verb // the verb of the last line that was too long
	announces    bool         // that line announced more octets: see rewrite.Announces
	entered      bool         // the session no longer counts in Proxy.arriving
	placed       bool         // the session counts in Proxy.census
	early        bool         // the server was shown that the client spoke before the greeting
	classic      bool         // TLS with the server succeeded only without ML-KEM
	begun        bool         // the observer was told that the session began
	mute         bool         // the client cannot read a reply: TLS begins, or all is opaque
	isDefective  bool         // a panic has ended the session
	finished     uint8        // how many steps of finish have begun
	auth         [2]uint8     // the mechanisms of logins, by side: see mechanism

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

// by returns the deadline of a wait that begins now. It is never later than the deadline of
// the session.
func (s *session) by(allowed time.Duration) time.Time {
	end, last := s.now.Add(allowed), s.began.Add(s.route.Timeouts.session())
	if end.After(last) {
		return last
	}
	return end
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

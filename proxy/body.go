package proxy

import (
	"errors"
	"fmt"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

const (
	// watchedMessage is the size, in octets, from which the server is watched during a
	// message although the client never pauses. A shorter message has arrived before the
	// server can reply to it.
	watchedMessage = 64 << 10

	// answerAfter is how long a client must be silent within a message before it gets the
	// reply that is held for the end of the message. The client may be waiting for it.
	answerAfter = time.Second

	// maxDropped bounds how many octets of a body are read and dropped.
	maxDropped = 256 << 20

	// lastWords is how long to wait for a reply of a server that has failed or is about to
	// leave.
	lastWords = 5 * time.Second
)

// crowdedRate is the default of the lowest rate of a message, in octets a second, while
// sessions are scarce.
const crowdedRate = 64

var (
	errSlow        = errors.New("the message comes too slowly: a smaller limits.message_rate would allow it")
	errServerFirst = errors.New("the server spoke or hung up before the message had ended")
	errPause       = errors.New("the client paused")
	errOverrun     = fmt.Errorf("the client continued with over %d octets that nobody accepts", maxDropped)
)

// A body is what the client sends after a command that announces it: a message after DATA,
// or a chunk after BDAT. Its two framings are data and chunk; they know where the body ends.
// A body waits for more of it from the client, and watches the server meanwhile: a server
// may refuse the body, or hang up, before it has all of it.
type body struct {
	s       *session
	began   time.Time
	forward bool  // the server gets what comes; false: it is dropped
	octets  int64 // how many the client has sent
	dropped int64 // how many of them were dropped

	given    bool // the client got its reply before the end of the body
	held     bool // a reply is held for the end: fill reports a pause of the client
	reported bool // the observer was told the outcome

	watches   bool        // watch the server
	whole     bool        // the server gets all of the body: do not interrupt writes to it
	watch     *wire.Watch // nil: the server is not being watched
	serverErr error       // why its connection failed; nil: the server spoke, or not known yet
}

// newBody returns the body that the client sends now. If forward is true, it goes to the
// server, unless there is none.
func (s *session) newBody(forward bool) body {
	forward = forward && s.server != nil
	return body{s: s, began: s.now, forward: forward, watches: forward}
}

// fill waits until the client has sent more of the body. It returns
//
//   - errServerFirst if the server has sent something or hung up. The server is watched
//     once the client has been silent for watchAfter, or has sent watchedMessage octets. A
//     short message that comes without a pause does not pay for the watch;
//   - errPause if a reply is held and the client is silent for answerAfter, or the proxy
//     is draining;
//   - errSlow if the client falls below the lowest rate, if there is one. See rate;
//   - the error of the client's connection. A timeout comes after Timeouts.Data, or sooner
//     if the client was told 421. After an interrupt, fill can be called again.
func (b *body) fill() error {
	s := b.s
	limit := s.by(s.patience(s.route.Timeouts.data()))
	pause := earlier(limit, s.now.Add(answerAfter))
	if b.held && s.draining.Load() {
		return errPause
	}
	if b.watches && b.watch == nil && b.octets > watchedMessage && !b.start() {
		return errServerFirst
	}
	for {
		until := limit
		switch {
		case b.held:
			until = pause
		case b.watches && b.watch == nil:
			until = earlier(limit, s.now.Add(watchAfter))
		}
		err := s.fill(s.client, until)
		if b.watch != nil && b.watch.HasFired() && b.stop() {
			return errServerFirst
		}
		switch {
		case err == nil:
			return b.rate()
		case !isTimeout(err) || s.client.Interrupted(err) || !until.Before(limit):
			return err
		case b.held:
			return errPause
		case !b.start():
			return errServerFirst
		}
	}
}

// rate returns errSlow if the client has fallen below the lowest rate after the first minute.
// By default there is a lowest rate only while sessions are scarce: a radio link of 300 baud
// brings 28 octets a second, and RFC 5321, 4.5.3.2.5 allows a pause of three minutes before
// any block.
func (b *body) rate() error {
	limit, took := b.s.route.Limits.MessageRate, b.s.now.Sub(b.began)
	tooSlow := took > time.Minute && float64(b.octets) < took.Seconds()*float64(or(limit, crowdedRate))
	if tooSlow && (limit > 0 || b.s.proxy.isCrowded(b.s.route)) {
		return errSlow
	}
	return nil
}

// isCrowded reports whether a route has more than half of the sessions that it may have.
func (p *Proxy) isCrowded(r *running) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.census[r.Name]
	return c != nil && 2*c.all > r.Limits.sessions()
}

// start begins to watch the server. It returns false if the server has sent something, or
// hung up, already.
func (b *body) start() bool {
	server, client, whole := b.s.server, b.s.client, b.whole
	if b.serverErr = nil; server.Spoke() {
		return false
	}
	b.watch = wire.StartWatch(server, func() {
		client.Interrupt()
		if !whole {
			server.InterruptWrite()
		}
	})
	return true
}

// stop ends the watch, if there is one. It reports whether the server has sent something or
// hung up. What was read from the server stays buffered.
func (b *body) stop() (spoke bool) {
	if b.watch == nil {
		return false
	}
	spoke, b.serverErr = b.watch.Stop()
	b.watch = nil
	b.s.server.ResumeWrite()
	return spoke
}

// reasonFor returns why a write to the server failed: the error of its connection, or the
// timeout of the write. It returns nil if the server may have sent a reply, which is still
// to be read.
func (b *body) reasonFor(failed error) error {
	b.serverErr = nil
	b.stop()
	if isTimeout(failed) && b.serverErr == nil && !b.s.server.Spoke() {
		return failed
	}
	return b.serverErr
}

// spoke ends the watch and reports whether the server has sent something or hung up. The
// last octets of a body are sent only if it has not: what it has said would be taken for the
// reply to the whole body.
func (b *body) spoke() bool { return b.stop() || b.s.server.Spoke() }

// early returns the reply of a server that has spoken before the end of the body. failed is
// the error of its connection; nil: it has spoken. The error is errDropped if the rules drop
// all that the server sent.
func (b *body) early(failed error) (raw []byte, err error) {
	s := b.s
	if failed != nil {
		return nil, failed
	}
	if s.saidNothing() {
		return nil, errDropped
	}
	return s.readReply(min(lastWords, s.route.Timeouts.reply()))
}

// lost reports that the server was lost, with err, before the end of the body.
func (b *body) lost(err error) {
	b.s.trouble(err)
	if isTimeout(err) {
		b.s.failed(vocabulary.ServerTimeout)
	} else {
		b.s.failed(vocabulary.ServerLost)
	}
}

// report reports the outcome of the message, once, if no reply of the server decides it.
func (b *body) report(outcome vocabulary.MessageOutcome) {
	b.stop()
	if !b.reported {
		b.reported = true
		b.s.sum.message(b.octets)
		b.s.messageOutcome(outcome)
	}
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

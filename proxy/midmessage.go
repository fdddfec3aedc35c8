package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/wire"
)

const (
	// watchedMessage is the length from which a message is watched for an answer
	// before its end although the client never pauses. A shorter one has arrived
	// before the server can answer it.
	watchedMessage = 64 << 10

	// answerAfter is how long a client has to be silent in the middle of a message
	// before it gets the answer that is held for the end of that message: it may be
	// waiting for one.
	answerAfter = time.Second
)

// crowdedRate is octets a second at which a message must come, by default, where
// sessions are scarce.
const crowdedRate = 64

var (
	errSlow        = errors.New("the message comes too slowly: a smaller limits.message_rate would allow it")
	errServerFirst = errors.New("the server spoke or hung up before the message had ended")
	errPause       = errors.New("the client paused")
)

// A bodyWait waits for more of a message, or of a chunk, from the client, and
// watches the server meanwhile.
type bodyWait struct {
	s         *session
	began     time.Time
	watches   bool        // the server is to be watched
	whole     bool        // the server gets all of the body whatever it says: writes to it go on
	held      bool        // an answer is held for the end: fill reports a pause of the client
	watch     *wire.Watch // that is under way; nil: none
	serverErr error       // of the server's connection, with errServerFirst; nil: it has spoken, or the error is not known yet
}

// fill waits until the client has sent more of a body of which so many octets have
// come. It returns
//
//   - errServerFirst if the server has spoken or hung up. It is watched once the
//     client has been silent for watchAfter, so that a message that flows does not
//     pay for it, or has sent watchedMessage octets;
//   - errPause if an answer is held and the client is silent for answerAfter, or
//     the session is to leave;
//   - errSlow if the client falls below the smallest rate, where there is one. The
//     first minute does not count;
//   - the error of the client's connection, a timeout after Timeouts.Data, or sooner if
//     the client was told 421, or an interrupt, after which it can be called again.
func (w *bodyWait) fill(octets int64) error {
	s := w.s
	limit := s.by(s.patience(s.route.Timeouts.data()))
	pause := earlier(limit, s.now.Add(answerAfter))
	if w.held && s.draining.Load() {
		return errPause
	}
	if w.watches && w.watch == nil && octets > watchedMessage && !w.start() {
		return errServerFirst
	}
	for {
		until := limit
		switch {
		case w.held:
			until = pause
		case w.watches && w.watch == nil:
			until = earlier(limit, s.now.Add(watchAfter))
		}
		err := s.fill(s.client, until)
		if w.watch != nil && w.watch.HasFired() && w.stop() {
			return errServerFirst
		}
		switch {
		case err == nil:
			return w.rate(octets)
		case !isTimeout(err) || s.client.Interrupted(err) || !until.Before(limit):
			return err
		case w.held:
			return errPause
		case !w.start():
			return errServerFirst
		}
	}
}

// rate returns errSlow if the client falls below the smallest rate. By default there is
// one only while sessions are scarce: a radio link of 300 baud brings 28 octets a
// second, and RFC 5321, 4.5.3.2.5 allows a pause of three minutes before any block.
func (w *bodyWait) rate(octets int64) error {
	limit, took := w.s.route.Limits.MessageRate, w.s.now.Sub(w.began)
	tooSlow := took > time.Minute && float64(octets) < took.Seconds()*float64(or(limit, crowdedRate))
	if tooSlow && (limit > 0 || w.s.proxy.isCrowded(w.s.route)) {
		return errSlow
	}
	return nil
}

// isCrowded reports whether more than half of the sessions that a route may have are
// taken.
func (p *Proxy) isCrowded(r *running) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.census[r.Name]
	return c != nil && 2*c.all > r.Limits.sessions()
}

// start begins to watch the server. It is false if the server has spoken already.
func (w *bodyWait) start() bool {
	server, client, whole := w.s.server, w.s.client, w.whole
	if w.serverErr = nil; server.Spoke() {
		return false
	}
	w.watch = wire.StartWatch(server, func() {
		client.Interrupt()
		if !whole {
			server.InterruptWrite()
		}
	})
	return true
}

// stop ends the watch, if there is one. It reports whether the server has spoken
// or hung up; what was read of its words stays buffered.
func (w *bodyWait) stop() (spoke bool) {
	if w.watch == nil {
		return false
	}
	spoke, w.serverErr = w.watch.Stop()
	w.watch = nil
	w.s.server.ResumeWrite()
	return spoke
}

// reasonFor returns why a write to the server failed: the error of its connection,
// nil if it can be asked for its last words, or the timeout of the write.
func (w *bodyWait) reasonFor(failed error) error {
	w.serverErr = nil
	w.stop()
	if isTimeout(failed) && w.serverErr == nil && !w.s.server.Spoke() {
		return failed
	}
	return w.serverErr
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

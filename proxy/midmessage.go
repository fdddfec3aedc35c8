package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/wire"
)

const (
	// watchedMessage is the size, in octets, from which the server is watched during a
	// message although the client never pauses. A shorter message has arrived before the
	// server can reply to it.
	watchedMessage = 64 << 10

	// answerAfter is how long a client must be silent within a message before it gets the
	// reply that is held for the end of the message. The client may be waiting for it.
	answerAfter = time.Second
)

// crowdedRate is the default of the lowest rate of a message, in octets a second, while
// sessions are scarce.
const crowdedRate = 64

var (
	errSlow        = errors.New("the message comes too slowly: a smaller limits.message_rate would allow it")
	errServerFirst = errors.New("the server spoke or hung up before the message had ended")
	errPause       = errors.New("the client paused")
)

// A bodyWait waits for more of a message or chunk from the client. Meanwhile it watches the
// server.
type bodyWait struct {
	s         *session
	began     time.Time
	watches   bool        // watch the server
	whole     bool        // the server gets all of the body: do not interrupt writes to it
	held      bool        // a reply is held for the end: fill reports a pause of the client
	watch     *wire.Watch // nil: the server is not being watched
	serverErr error       // why its connection failed; nil: the server spoke, or not known yet
}

// fill waits until the client has sent more of the body. octets is how many have come. fill
// returns
//
//   - errServerFirst if the server has sent something or hung up. The server is watched
//     once the client has been silent for watchAfter, or has sent watchedMessage octets. A
//     short message that comes without a pause does not pay for the watch;
//   - errPause if a reply is held and the client is silent for answerAfter, or the proxy
//     is draining;
//   - errSlow if the client falls below the lowest rate, if there is one. See rate;
//   - the error of the client's connection. A timeout comes after Timeouts.Data, or sooner
//     if the client was told 421. After an interrupt, fill can be called again.
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

// rate returns errSlow if the client has fallen below the lowest rate after the first minute.
// By default there is a lowest rate only while sessions are scarce: a radio link of 300 baud
// brings 28 octets a second, and RFC 5321, 4.5.3.2.5 allows a pause of three minutes before
// any block.
func (w *bodyWait) rate(octets int64) error {
	limit, took := w.s.route.Limits.MessageRate, w.s.now.Sub(w.began)
	tooSlow := took > time.Minute && float64(octets) < took.Seconds()*float64(or(limit, crowdedRate))
	if tooSlow && (limit > 0 || w.s.proxy.isCrowded(w.s.route)) {
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

// stop ends the watch, if there is one. It reports whether the server has sent something or
// hung up. What was read from the server stays buffered.
func (w *bodyWait) stop() (spoke bool) {
	if w.watch == nil {
		return false
	}
	spoke, w.serverErr = w.watch.Stop()
	w.watch = nil
	w.s.server.ResumeWrite()
	return spoke
}

// reasonFor returns why a write to the server failed: the error of its connection, or the
// timeout of the write. It returns nil if the server may have sent a reply, which is still
// to be read.
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

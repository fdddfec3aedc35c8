package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"smtpshim/rewrite/vocabulary"
)

const (
	// renewBefore is how long before a token's end its successor is at hand. Some
	// servers refuse a token that ends within about ten minutes (501 5.5.127 of
	// Microsoft's High Volume Email).
	renewBefore = 10 * time.Minute
	// unknownLife is assumed where the endpoint or program gives no lifetime.
	unknownLife = 5 * time.Minute
	// shortest is the lifetime below which a token is not renewed unless somebody
	// asks for one, so that an endpoint that gives such tokens is not asked all day.
	shortest = time.Minute
	// leastUse is how long even a token that ends at once is used, which bounds
	// the rate of requests.
	leastUse = time.Second

	// A failure is answered from memory for so long, and twice as long after each
	// further one, up to the longest.
	firstPause, longestPause   = time.Second, time.Minute
	firstRefusal, longRefusals = 30 * time.Second, 10 * time.Minute
	// recheck is how often the files of the credentials are looked at during the
	// pause after a failure that new ones may mend.
	recheck = 5 * time.Second

	// After a server has refused a token, the next one that it refuses is kept for
	// so long, and twice as long each time, up to the longest.
	firstSpare, longestSpare = time.Minute, time.Hour
)

// A Source keeps a token for one account. Its methods may be called from any
// goroutine.
type Source struct {
	settings Settings
	client   *http.Client
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	work     sync.WaitGroup // the request under way, and attempts to store a refresh token

	requests sync.Mutex // guards grants; held during a request
	grants   grants

	mu      sync.Mutex
	closed  bool
	token   Token     // the zero Token: none
	renew   time.Time // when its successor is requested
	dead    time.Time // when it is not given out any more
	flight  *flight   // the request under way; nil: none
	alarm   *time.Timer
	saver   *time.Timer // tries again to store a refresh token
	failure *Error      // of the last request; nil: it succeeded
	failed  int         // requests that failed in a row
	retry   time.Time
	files   string    // what the files of the credentials looked like before the failed request
	spare   time.Time // until when a refused token is kept
	refused int       // tokens dropped, each soon after the one before
}

// A flight is one request, which any number of callers await.
type flight struct {
	done  chan struct{}
	token Token // valid once done is closed, as is err
	err   error
}

// New returns a source, or all that is wrong with the settings. It reads the
// files that they name, to find mistakes, and requests nothing: see
// [Source.Prefetch]. Close it after use.
func New(settings Settings) (*Source, error) {
	s, err := settings.source()
	if err == nil && settings.Flow == RefreshToken {
		err = os.MkdirAll(settings.StateDir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", settings.Account, err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.alarm = time.AfterFunc(time.Hour, s.ring)
	s.alarm.Stop()
	s.saver = time.AfterFunc(time.Hour, s.saveLater)
	s.saver.Stop()
	return s, nil
}

// Token returns a token that a server should accept: at once where one is at
// hand or a recent request has failed, and otherwise after the request that is
// under way or begins now. The end of ctx ends the caller's wait, not the
// request. The error is an [*Error].
func (s *Source) Token(ctx context.Context) (Token, error) {
	s.mu.Lock()
	now := time.Now()
	if s.closed {
		s.mu.Unlock()
		return Token{}, s.settings.fault(Closed, nil)
	}
	if s.token.value != nil && now.Before(s.dead) {
		t := s.token
		s.mu.Unlock()
		return t, nil
	}
	if s.flight == nil {
		if s.failure != nil && now.Before(s.retry) {
			err := s.failure
			s.mu.Unlock()
			return Token{}, err
		}
		s.begin()
	}
	f := s.flight
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
	}
	select {
	case <-f.done:
		return f.token, f.err
	default:
		return Token{}, s.settings.fault(Unreachable, fmt.Errorf("wait for the request under way: %w", ctx.Err()))
	}
}

// Prefetch begins to obtain a token if there is none, and returns at once.
func (s *Source) Prefetch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.flight == nil && s.failure == nil && s.token.value == nil {
		s.begin()
	}
}

// Refused tells the source that a server did not accept t, and reports whether
// Token returns, or waits for, another one. The source drops a refused token
// once: where its successor is refused soon after, the fault is not the token's
// but that of the account's permissions, and the successor is kept for a while,
// so that a server that refuses everything causes no stream of requests.
func (s *Source) Refused(t Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.closed || t.value == nil:
		return false
	case !t.equal(s.token):
		return s.token.value != nil || s.flight != nil
	case now.Before(s.spare):
		return false
	case s.flight == nil && s.failure != nil && now.Before(s.retry):
		return false // there is no other to be had now
	}
	if now.Sub(s.spare) > longestSpare {
		s.refused = 0
	}
	s.spare = now.Add(min(firstSpare<<min(s.refused, 16), longestSpare))
	s.refused++
	s.token = Token{}
	if s.flight == nil {
		s.begin()
	}
	return true
}

// A State is what a source knows at one moment.
type State struct {
	Expires time.Time // of the token at hand; zero: there is none
	Failure *Error    // of the last request; nil: it succeeded, or there was none
	Retry   time.Time // when the next request may begin after Failure
}

// State returns what the source knows now.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{Failure: s.failure}
	if s.token.value != nil && time.Now().Before(s.dead) {
		state.Expires = s.token.expires
	}
	if s.failure != nil {
		state.Retry = s.retry
	}
	return state
}

// Close ends the source: Token fails from now on. It cancels a request that is
// under way, but waits for one that spends a refresh token, at most three times
// Settings.Timeout, since the token that comes back must not be lost.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.token = Token{}
	s.alarm.Stop()
	s.saver.Stop()
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	s.saveUnsaved()
	s.client.CloseIdleConnections()
	return nil
}

// begin starts a request. The caller holds mu, and there is none under way.
func (s *Source) begin() {
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.alarm.Stop()
	s.work.Go(func() { s.fly(f) })
}

// fly makes the request and lands its outcome.
func (s *Source) fly(f *flight) {
	files := s.lookAtFiles()
	started := time.Now()
	got, err := s.safely()
	s.mu.Lock()
	s.flight = nil
	if s.closed {
		err = s.settings.fault(Closed, nil)
	}
	if err != nil {
		s.fail(err, files)
		f.err = err
	} else {
		f.token = s.take(got, started)
	}
	pause := time.Until(s.retry)
	s.mu.Unlock()
	s.report(f.token, err, pause)
	close(f.done)
}

// safely obtains a token. A panic becomes an error, since one account's defect
// is not to end the sessions of all the others. What the panic says may quote a
// secret, and is not repeated.
func (s *Source) safely() (got grant, err *Error) {
	defer func() {
		if v := recover(); v != nil {
			s.log().Error("defect in obtaining a token", "account", s.settings.Account, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			got, err = grant{}, s.settings.fault(Local, errors.New("a defect; the log has its stack"))
		}
	}()
	ctx, cancel := context.WithTimeout(s.ctx, 2*s.settings.patience())
	defer cancel()
	s.requests.Lock()
	defer s.requests.Unlock()
	return s.obtain(ctx)
}

// take keeps a token. Its end is counted from before the request by the
// monotonic clock: what the endpoint's clock shows does not matter. The caller
// holds mu.
func (s *Source) take(got grant, started time.Time) Token {
	life := got.life
	if !got.known {
		life = unknownLife
	}
	now := time.Now()
	end := started.Add(life)
	s.token = newToken(got.access, end)
	s.renew = end.Add(-min(renewBefore+s.settings.patience(), life/2))
	s.dead = end.Add(-min(10*time.Second, life/10))
	if least := now.Add(leastUse); s.dead.Before(least) {
		s.dead = least
	}
	s.failure, s.failed = nil, 0
	if life >= shortest {
		s.alarm.Reset(max(leastUse, s.renew.Sub(now)))
	}
	return s.token
}

// fail remembers a failure and when to try again. The caller holds mu.
func (s *Source) fail(err *Error, files string) {
	first, longest := firstPause, longestPause
	if !err.Temporary() {
		first, longest = firstRefusal, longRefusals
	}
	pause := min(first<<min(s.failed, 16), longest)
	// The jitter keeps the processes of a site from asking at the same moment.
	pause = time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
	pause = max(pause, min(err.RetryAfter, longRefusals))
	s.failure, s.files = err, files
	s.failed++
	s.retry = time.Now().Add(pause)
	if !s.closed {
		s.alarm.Reset(min(pause, recheck))
	}
}

// ring begins a request when it is time for one, or when the files of
// credentials that were refused have changed.
func (s *Source) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.closed || s.flight != nil:
		return
	case s.failure == nil || !now.Before(s.retry):
		s.begin()
		return
	}
	failure, before := s.failure, s.files
	s.mu.Unlock()
	changed := failure.Kind != Unreachable && failure.Kind != Unavailable && s.lookAtFiles() != before
	s.mu.Lock()
	switch {
	case s.closed || s.flight != nil || s.failure != failure:
	case changed:
		s.begin()
	default:
		s.alarm.Reset(max(0, min(recheck, s.retry.Sub(now))))
	}
}

// report tells the observer and the log what became of a request.
func (s *Source) report(t Token, err *Error, pause time.Duration) {
	if err != nil && err.Kind == Closed {
		return
	}
	outcome := vocabulary.TokenOK
	if err != nil {
		outcome = vocabulary.TokenOutcome(err.Kind.String())
		s.log().Warn("no token", "account", s.settings.Account, "outcome", outcome, "err", err.Error(), "retry_in", pause.Round(time.Millisecond).String())
	} else {
		s.log().Debug("token obtained", "account", s.settings.Account, "expires", t.Expires())
	}
	if s.settings.Observer == nil {
		return
	}
	s.settings.Observer.TokenRequest(s.settings.Account, outcome)
	if err == nil && t.value != nil {
		s.settings.Observer.TokenExpires(s.settings.Account, t.Expires())
	}
}

func (s *Source) log() *slog.Logger {
	if s.settings.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.settings.Log
}

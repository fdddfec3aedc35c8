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
	// renewBefore is the time before a token's end at which its successor should be
	// there. Some servers refuse a token that ends within about ten minutes (501 5.5.127
	// of Microsoft's High Volume Email).
	renewBefore = 10 * time.Minute
	// unknownLife is the assumed lifetime of a token if the endpoint or program does not
	// give one.
	unknownLife = 5 * time.Minute
	// shortest is the least lifetime of a token that is renewed without being asked for,
	// so that an endpoint that issues shorter ones is not asked all day.
	shortest = time.Minute
	// leastUse is the time for which even an expired token is used. It limits the rate of
	// requests.
	leastUse = time.Second

	// After a failure, further calls get the same error for firstPause, and for twice as
	// long after each further failure, up to longestPause.
	firstPause, longestPause   = time.Second, time.Minute
	firstRefusal, longRefusals = 30 * time.Second, 10 * time.Minute
	// recheck is the interval at which the files of the credentials are looked at after a
	// failure that new ones may correct.
	recheck = 5 * time.Second

	// After a server has refused a token, the next one that it refuses is kept for
	// firstSpare, and for twice as long each time, up to longestSpare.
	firstSpare, longestSpare = time.Minute, time.Hour
)

// A Source provides tokens for one account. It is safe for concurrent use.
type Source struct {
	settings Settings
	client   *http.Client
	ctx      context.Context // cancelled by Close
	cancel   context.CancelFunc
	work     sync.WaitGroup // the request in progress, and attempts to store a refresh token

	requests sync.Mutex // guards grants; held during a request
	grants   grants

	mu      sync.Mutex
	closed  bool
	token   Token     // zero: none
	renew   time.Time // when to request its successor
	dead    time.Time // when it is no longer returned
	flight  *flight   // the request in progress; nil: none
	alarm   *time.Timer
	saver   *time.Timer // tries again to store a refresh token
	failure *Error      // of the last request; nil: it succeeded
	failed  int         // failed requests in a row
	retry   time.Time
	files   string    // result of lookAtFiles before the failed request
	spare   time.Time // end of the time for which a refused token is kept
	refused int       // tokens dropped in a row, each soon after the one before
}

// A flight is one request, for which any number of callers wait.
type flight struct {
	done  chan struct{}
	token Token // valid when done is closed, like err
	err   error
}

// New returns a source of tokens for settings. The error says what is wrong with them,
// as that of [Settings.Check] does. New reads the files that settings name, and creates
// StateDir if the flow is RefreshToken. It requests no token: see [Source.Prefetch].
// The caller must call Close.
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

// Token returns the token of the source at once if the source has a valid one.
// Otherwise it waits for a request: for the one in progress, or for a new one. But if
// the last request has failed and the next is not due yet, Token returns the error of
// the last request at once. If ctx ends first, Token returns an error, and the request
// goes on. The error is an [*Error].
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

// Prefetch begins the first request for a token and does not wait for the result. It
// does nothing if a request was made before, or if the source is closed.
func (s *Source) Prefetch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.flight == nil && s.failure == nil && s.token.value == nil {
		s.begin()
	}
}

// Refused tells the source that a server has refused t, and reports whether another
// token may help: the source has another one or is requesting one. If t is the current
// token, the source drops it and requests another, except in two cases, in which
// Refused returns false:
//
//   - The source has dropped another token less than a minute ago. This time doubles
//     with each further token that it drops, up to an hour. The cause is then not the
//     token but the account's permissions. A server that refuses everything must not
//     cause a stream of requests.
//   - The last request failed, and it is too early for the next.
//
// If the source is closed, Refused returns false.
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
		return false // no other token can be had now
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

// A State says whether a [Source] has a token at one moment, and whether its last
// request failed.
type State struct {
	Expires time.Time // end of the present token; zero: there is none
	Failure *Error    // error of the last request; nil: it succeeded or there was none
	Retry   time.Time // when the next request after Failure is due; zero: Failure is nil
}

// State returns what the source has now, without a request.
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

// Close ends the source: further calls of Token fail. Close cancels the request in
// progress. If that request spends a refresh token, Close waits for it instead, at most
// three times Settings.Timeout, because its result must not be lost. The error is always
// nil.
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

// begin starts a request. mu must be held, and no request be in progress.
func (s *Source) begin() {
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.alarm.Stop()
	s.work.Go(func() { s.fly(f) })
}

// fly makes the request and publishes the result.
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

// safely obtains a token. It turns a panic into an error, so that a defect in one account
// does not end the sessions of all others. The text of the panic may quote a secret and
// is not repeated.
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

// take stores a token. Its lifetime counts from before the request by the monotonic
// clock; the endpoint's clock does not matter. mu must be held.
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

// fail records a failure and when to try again. mu must be held.
func (s *Source) fail(err *Error, files string) {
	first, longest := firstPause, longestPause
	if !err.Temporary() {
		first, longest = firstRefusal, longRefusals
	}
	pause := min(first<<min(s.failed, 16), longest)
	// The jitter spreads the requests of the processes at a site.
	pause = time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
	pause = max(pause, min(err.RetryAfter, longRefusals))
	s.failure, s.files = err, files
	s.failed++
	s.retry = time.Now().Add(pause)
	if !s.closed {
		s.alarm.Reset(min(pause, recheck))
	}
}

// ring begins a request when one is due, or when the files of refused credentials have
// changed.
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

// report tells the observer and the log the result of a request.
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

package token

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientCredentialsRequestHoldsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, hide := withSecret(t, e)
		s := open(t, settings)
		if got := must(t, s).Secret(); got != "token-1" {
			t.Errorf("the token is %q, want token-1", got)
		}
		want := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"id-of-the-application"}, "client_secret": {hide},
			"scope": {"https://outlook.office365.com/.default"},
		}
		if got := e.last().Encode(); got != want.Encode() {
			t.Errorf("the request is %s\nwant %s", got, want.Encode())
		}
	})
}

func TestTokenIsRenewedTenMinutesBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		first := must(t, s)
		time.Sleep(49 * time.Minute)
		synctest.Wait()
		if e.count() != 1 {
			t.Errorf("after 49 minutes there were %d requests, want 1", e.count())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if e.count() != 2 {
			t.Fatalf("10 minutes before the end there were %d requests, want 2", e.count())
		}
		if second := must(t, s); second.equal(first) || time.Until(second.Expires()) < 50*time.Minute {
			t.Errorf("the token at hand ends at %v, want the new one", second.Expires())
		}
	})
}

func TestThousandCallersAtOnceMakeOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				if _, err := s.Token(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if e.count() != 1 {
			t.Errorf("there were %d requests, want 1", e.count())
		}
	})
}

func TestEndOfACallersContextEndsNobodyElsesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := &endpoint{answer: func(*http.Request, url.Values) *http.Response {
			<-release
			return says(200, time.Now(), map[string]any{"access_token": "late", "expires_in": 3600})
		}}
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		var patient sync.WaitGroup
		patient.Go(func() {
			if got, err := s.Token(context.Background()); err != nil || got.Secret() != "late" {
				t.Errorf("the patient caller got %v, %v; want the token", got, err)
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := s.Token(ctx)
		var typed *Error
		if !errors.As(err, &typed) || typed.Kind != Unreachable || !typed.Temporary() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient caller got %v, want an unreachable endpoint", err)
		}
		close(release)
		patient.Wait()
		if e.count() != 1 {
			t.Errorf("there were %d requests, want 1", e.count())
		}
	})
}

func TestFailureIsAnsweredAtOnceWhileItIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := refuses(503, "", "")
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		if err := fails(t, s); err.Kind != Unavailable || !err.Temporary() {
			t.Errorf("the error is %v, want that of an unavailable endpoint", err)
		}
		before := time.Now()
		for range 100 {
			fails(t, s)
		}
		if e.count() != 1 || !time.Now().Equal(before) {
			t.Errorf("100 callers made %d requests and waited %v, want 1 and 0", e.count(), time.Since(before))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		// The pauses grow from 1 s to 1 min, each with up to a fifth more or less.
		if n := e.count(); n < 50 || n > 85 {
			t.Errorf("there were %d requests in an hour, want about 65", n)
		}
	})
}

func TestSilentEndpointIsGivenUpAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings, _ := withSecret(t, silent())
		s := open(t, settings)
		began := time.Now()
		err := fails(t, s)
		if err.Kind != Unreachable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v, want an unreachable endpoint", err)
		}
		if waited := time.Since(began); waited != 30*time.Second {
			t.Errorf("the caller waited %v, want 30s", waited)
		}
	})
}

func TestTokenAtHandOutlivesARenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		e := &endpoint{}
		e.answer = func(*http.Request, url.Values) *http.Response {
			if down.Load() {
				return says(500, time.Now(), map[string]any{})
			}
			return says(200, time.Now(), map[string]any{"access_token": "good", "expires_in": "3600"})
		}
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		must(t, s)
		down.Store(true)
		time.Sleep(59 * time.Minute)
		must(t, s)
		if s.State().Failure == nil {
			t.Error("the state has no failure, want that of the renewal")
		}
		time.Sleep(time.Minute)
		fails(t, s)
	})
}

func TestShortLivedTokensAreRenewedAtHalfTheirLife(t *testing.T) {
	for _, c := range []struct {
		life    time.Duration
		atLeast int // requests in the hour after the first, when nobody asks
		atMost  int
	}{
		{12 * time.Minute, 8, 10},
		{2 * time.Minute, 55, 60},
		{10 * time.Second, 0, 0}, // not renewed before somebody asks
		{0, 12, 24},              // no lifetime known
		{-5 * time.Second, 0, 0},
	} {
		t.Run(c.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := gives(c.life)
				settings, _ := withSecret(t, e)
				s := open(t, settings)
				must(t, s)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := e.count() - 1; n < c.atLeast || n > c.atMost {
					t.Errorf("there were %d renewals in an hour, want %d to %d", n, c.atLeast, c.atMost)
				}
				before := e.count()
				for range 100 {
					must(t, s)
				}
				if n := e.count() - before; n > 1 {
					t.Errorf("100 calls at one moment made %d requests, want 1 at most", n)
				}
			})
		})
	}
}

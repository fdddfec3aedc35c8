package token

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A rotator is an endpoint that gives a new refresh token for each one, accepts
// each once, and revokes everything when one comes twice (RFC 9700, 4.14.2).
type rotator struct {
	endpoint
	life time.Duration

	lock  sync.Mutex
	n     int
	valid string
	twice bool
}

func newRotator(life time.Duration) *rotator {
	r := &rotator{life: life, valid: "refresh-0"}
	r.answer = func(_ *http.Request, form url.Values) *http.Response {
		r.lock.Lock()
		defer r.lock.Unlock()
		if form.Get("refresh_token") != r.valid || r.twice {
			r.twice = true
			return says(400, time.Now(), map[string]any{"error": "invalid_grant", "error_description": "AADSTS70008: expired"})
		}
		r.n++
		r.valid = fmt.Sprintf("refresh-%d", r.n)
		return says(200, time.Now(), map[string]any{"access_token": fmt.Sprintf("access-%d", r.n), "refresh_token": r.valid, "expires_in": int(r.life / time.Second)})
	}
	return r
}

func (r *rotator) current() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.valid
}

// withRefresh are settings whose directory holds a refresh token; "": none.
func withRefresh(t *testing.T, e http.RoundTripper, refresh string) Settings {
	t.Helper()
	settings := Settings{
		Account: "office", Flow: RefreshToken, TokenURL: "https://login.example.com/token",
		ClientID: "id-of-the-application", StateDir: t.TempDir(), HTTP: e,
	}
	if refresh != "" {
		if err := settings.writeState(newSecret(refresh)); err != nil {
			t.Fatal(err)
		}
	}
	return settings
}

// onDisk returns the refresh token in the file.
func onDisk(t *testing.T, settings Settings) string {
	t.Helper()
	kept, err := settings.readState()
	if err != nil {
		t.Fatal(err)
	}
	return kept.reveal()
}

func TestNewRefreshTokenIsOnDiskBeforeItsAccessTokenIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotator(time.Hour)
		settings := withRefresh(t, r, "refresh-0")
		s := open(t, settings)
		for i := 1; i < 5; i++ {
			if got := must(t, s).Secret(); got != fmt.Sprintf("access-%d", i) {
				t.Errorf("the token is %q, want access-%d", got, i)
			}
			if got, want := onDisk(t, settings), r.current(); got != want {
				t.Errorf("the file holds %q, want %q", got, want)
			}
			time.Sleep(time.Hour - 10*time.Minute)
			synctest.Wait()
		}
		info, err := os.Stat(settings.stateFile())
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v, want 0600", info.Mode())
		}
	})
}

func TestTwoSourcesOverOneDirectoryLoseNoRefreshToken(t *testing.T) {
	r := newRotator(time.Second) // of no use after a second: each call makes a request
	settings := withRefresh(t, r, "refresh-0")
	var users sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for range 30 {
				s, err := New(settings)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Token(context.Background()); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	users.Wait()
	if r.count() != 60 || r.most != 1 || r.twice {
		t.Errorf("of %d requests up to %d were made at once, and one token was spent twice: %v; want 60, 1, false", r.count(), r.most, r.twice)
	}
	if got, want := onDisk(t, settings), r.current(); got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}

func TestRefreshTokenOfANewerLoginIsUsedAtOnceAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotator(time.Hour)
		settings := withRefresh(t, r, "dead")
		s := open(t, settings)
		err := fails(t, s)
		if err.Kind != InvalidGrant || err.AADSTS != "70008" || !strings.Contains(err.Advice, `"smtpshim login office"`) {
			t.Errorf("the error is %v, want invalid_grant with its number and what to do", err)
		}
		r.lock.Lock()
		r.twice = false
		r.lock.Unlock()
		if err := settings.writeState(newSecret("refresh-0")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheck)
		synctest.Wait()
		if got := must(t, s).Secret(); got != "access-1" {
			t.Errorf("the token is %q, want access-1", got)
		}
	})
}

func TestRefreshTokenThatSomebodyWritesDuringTheRequestIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var settings Settings
		e := &endpoint{}
		e.answer = func(_ *http.Request, form url.Values) *http.Response {
			if form.Get("refresh_token") == "old" {
				if err := settings.writeState(newSecret("new")); err != nil {
					panic(err)
				}
				return says(400, time.Now(), map[string]any{"error": "invalid_grant"})
			}
			return says(200, time.Now(), map[string]any{"access_token": "good", "expires_in": 3600})
		}
		settings = withRefresh(t, e, "old")
		s := open(t, settings)
		if got := must(t, s).Secret(); got != "good" || e.count() != 2 || onDisk(t, settings) != "new" {
			t.Errorf("the token is %q after %d requests, want good after 2", got, e.count())
		}
	})
}

func TestWithoutALoginThereIsNoRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(Settings) error
	}{
		{"no file", func(Settings) error { return nil }},
		{"an empty file", func(s Settings) error { return os.WriteFile(s.stateFile(), nil, 0o600) }},
		{"a file cut short", func(s Settings) error { return os.WriteFile(s.stateFile(), []byte(`{"refresh_token":"hal`), 0o600) }},
		{"another application's token", func(s Settings) error {
			s.ClientID = "another"
			return s.writeState(newSecret("refresh-0"))
		}},
		{"another endpoint's token", func(s Settings) error {
			s.TokenURL = "https://login.example.net/token"
			return s.writeState(newSecret("refresh-0"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRotator(time.Hour)
				settings := withRefresh(t, r, "")
				if err := c.make(settings); err != nil {
					t.Fatal(err)
				}
				s := open(t, settings)
				if err := fails(t, s); err.Kind != InvalidGrant || !strings.Contains(err.Advice, "smtpshim login office") {
					t.Errorf("the error is %v, want one that says to log in", err)
				}
				if r.count() != 0 {
					t.Errorf("there were %d requests, want none", r.count())
				}
			})
		})
	}
}

func TestRefreshTokenThatCannotBeStoredIsKeptInMemoryAndStoredLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotator(time.Hour)
		settings := withRefresh(t, r, "refresh-0")
		var log lines
		settings.Log = log.logger()
		s := open(t, settings)
		// A directory in the temporary file's place fails every write.
		blocked := filepath.Join(settings.StateDir, "office.token.new", "in the way")
		if err := os.MkdirAll(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		must(t, s)
		if !strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "refresh-1") {
			t.Errorf("the log is %q, want an error without the token", log.String())
		}
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		if got := must(t, s).Secret(); got != "access-2" || onDisk(t, settings) != "refresh-0" {
			t.Errorf("the token is %q, want access-2 by the refresh token in memory", got)
		}
		if err := os.RemoveAll(filepath.Dir(blocked)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(saveAgain)
		synctest.Wait()
		if got, want := onDisk(t, settings), r.current(); got != want || r.twice {
			t.Errorf("the file holds %q, want %q", got, want)
		}
	})
}

func TestCloseStoresTheRefreshTokenOfTheRequestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, release := make(chan struct{}), make(chan struct{})
		e := &endpoint{answer: func(*http.Request, url.Values) *http.Response {
			close(asked)
			<-release
			return says(200, time.Now(), map[string]any{"access_token": "late", "refresh_token": "refresh-1", "expires_in": 3600})
		}}
		settings := withRefresh(t, e, "refresh-0")
		s := open(t, settings)
		s.Prefetch()
		<-asked
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(closed)
		}()
		synctest.Wait()
		close(release)
		<-closed
		if got := onDisk(t, settings); got != "refresh-1" {
			t.Errorf("the file holds %q, want refresh-1", got)
		}
		if err := fails(t, s); err.Kind != Closed {
			t.Errorf("after Close the error is %v, want that of a closed source", err)
		}
	})
}

func TestLockThatAnotherHoldsIsWaitedForNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotator(time.Hour)
		settings := withRefresh(t, r, "refresh-0")
		settings.Timeout = 30 * time.Second
		unlock, err := settings.lock(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, settings)
		began := time.Now()
		if err := fails(t, s); err.Kind != Local || !err.Temporary() || time.Since(began) > 31*time.Second {
			t.Errorf("after %v the error is %v, want a local one after 30s", time.Since(began), err)
		}
		if r.count() != 0 {
			t.Errorf("there were %d requests without the lock, want none", r.count())
		}
		unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		must(t, s)
	})
}

func TestStateFileIsJSONWithTheNamesOfWhatItIsFor(t *testing.T) {
	settings := withRefresh(t, newRotator(time.Hour), "refresh-0")
	b, err := os.ReadFile(settings.stateFile())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"refresh_token": "refresh-0", "client_id": "id-of-the-application", "token_url": "https://login.example.com/token"} {
		if got[key] != want {
			t.Errorf("%s is %v, want %q", key, got[key], want)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// wantsRotation wants each refresh token to have been spent once, one request at a time,
// and the last to be on disk.
func (e *tokenEndpoint) wantsRotation(t *testing.T, state string, least int) {
	t.Helper()
	requests, most, twice, refresh := e.counted()
	if requests < least || most != 1 || twice {
		t.Errorf("%d requests, %d of them at once, a refresh token spent twice: %v; want %d or more, 1, false", requests, most, twice, least)
	}
	var kept struct {
		Token string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(state, "office.token"))), &kept); err != nil || kept.Token != refresh {
		t.Errorf("stored is %q, %v; the one that is good is %q", kept.Token, err, refresh)
	}
}

// loggedIn runs "smtpshim login" for an account that keeps its token in a directory,
// and returns the account.
func (e *tokenEndpoint) loggedIn(t *testing.T, state string) (account string) {
	t.Helper()
	account = e.accountAt("", "refresh-token", "")
	config := filepath.Join(t.TempDir(), "login.toml")
	write(t, config, fmt.Sprintf("state_dir = %q\n%s[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n", state, account))
	status, out, err := call("login", "-config", config, "office")
	if status != succeeded || !strings.Contains(out, "ABCD-EFGH") {
		t.Fatalf("login: %d %s%s", status, out, err)
	}
	return account
}

func TestAnUpgradeLosesNoRefreshToken(t *testing.T) {
	e := startTokenEndpoint(t)
	e.life = 1 // each token is renewed at once
	sink, serverTLS := startOffice(t, nil)
	state := real.Dir(t)
	s := &installed{t: t, sink: sink, drain: "1h", lockIn: true}
	s.startAs(fmt.Sprintf("state_dir = %q\n", state), serverTLS+loopbackLogin+e.loggedIn(t, state))
	l := s.load(4, false, s.places[0])
	for range 3 {
		l.goesOn()
		s.install()
		s.upgrade()
	}
	l.goesOn()
	l.over(0)
	s.tell(syscall.SIGTERM)
	real.Wait(t, "four processes to stop", func() bool { return !alive(s.pid) && strings.Count(s.log.String(), "msg=stopped\n") == 4 })
	e.wantsRotation(t, state, 5)
}

func TestTwoProcessesWithOneRefreshTokenLoseNone(t *testing.T) {
	e := startTokenEndpoint(t)
	e.life = 1
	sink, serverTLS := startOffice(t, nil)
	state := real.Dir(t)
	account := e.loggedIn(t, state)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	var stop []func()
	for range 2 {
		address, config := real.FreeAddr(), filepath.Join(real.Dir(t), "smtpshim.toml")
		write(t, config, fmt.Sprintf("state_dir = %q\nadmin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\n%s%s%s",
			state, address, sink.Addr(), serverTLS, loopbackLogin, account))
		proc, log := real.StartLogged(t, nil, path, "run", "-config", config)
		real.Listening(t, address)
		addresses = append(addresses, address)
		stop = append(stop, func() {
			proc.Signal(syscall.SIGTERM)
			real.Wait(t, "a process to stop", func() bool { return strings.Contains(log.String(), "msg=stopped") })
		})
	}
	var clients sync.WaitGroup
	for n := range 6 {
		clients.Go(func() {
			for sent := 0; ; sent++ {
				if requests, _, _, _ := e.counted(); requests > 8 && sent > 5 {
					return
				}
				if code, text, err := attemptMail(addresses[n%2]); err != nil || code != 250 {
					t.Errorf("a client hears %d %s, %v", code, text, err)
					return
				}
			}
		})
	}
	clients.Wait()
	for _, end := range stop {
		end()
	}
	e.wantsRotation(t, state, 8)
}

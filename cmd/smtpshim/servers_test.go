package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestARouteWhoseServersAllFailTheirChecksIsNotReady(t *testing.T) {
	address, dead, server := freeAddress(t), freeAddress(t), mailServer(t)
	r := start(t, address, server)
	serve := func(servers string) {
		t.Helper()
		write(t, r.path, fmt.Sprintf("admin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%s]\nhealth.interval = \"1s\"\n", r.admin, address, servers))
		r.signals <- syscall.SIGHUP
		r.logged("msg=reloaded")
	}
	want := func(path string, status int, part string) {
		t.Helper()
		if got, body := r.get(path); got != status || !strings.Contains(body, part) {
			t.Errorf("%s: %d, want %d with %q in\n%s", path, got, status, part, body)
		}
	}
	up, down := fmt.Sprintf("smtpshim_server_up{route=\"in\",server=%q} 1", server), fmt.Sprintf("smtpshim_server_up{route=\"in\",server=%q} 0", dead)

	serve(fmt.Sprintf("%q", dead))
	r.logged("fails its checks")
	want("/readyz", http.StatusServiceUnavailable, "route in")
	want("/metrics", http.StatusOK, down)

	serve(fmt.Sprintf("%q, %q", dead, server))
	want("/readyz", http.StatusOK, "ready")
	connect(t, address)
	want("/metrics", http.StatusOK, down)
	want("/metrics", http.StatusOK, up)
	want("/metrics", http.StatusOK, fmt.Sprintf("smtpshim_server_sessions{route=\"in\",server=%q} 1", server))
}

func TestCheckTellsHowServersAreChosen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	for more, want := range map[string]string{
		"":                                  "192.0.2.1:25, then 192.0.2.2:25",
		"balance = \"round-robin\"\n":       "192.0.2.1:25, 192.0.2.2:25: each in its turn",
		"balance = \"least-sessions\"\n":    "192.0.2.1:25, 192.0.2.2:25: the one with the fewest sessions",
		"health = {interval = \"1m30s\"}\n": "every 1m30s each server must greet",
	} {
		write(t, path, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:25\"]\nservers = [\"192.0.2.1:25\", \"192.0.2.2:25\"]\n"+more)
		var out, errors strings.Builder
		if status := check([]string{"-config", path}, &out, &errors); status != succeeded || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %d, want %q in\n%s%s", more, status, want, &out, &errors)
		}
	}
}

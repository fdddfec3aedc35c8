//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// The tests in the files peers_*_test.go run the program as it is installed,
// between mail servers and clients of other people (package real).

// binary is smtpshim, built once for all tests, with the race detector if they have
// it.
var binary = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(programDir, "smtpshim")
	args := []string{"build", "-buildvcs=false", "-o", path}
	if smtptest.RaceDetected() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// program is what is to be run as smtpshim.
var program = sync.OnceValues(func() (path string, err error) {
	if path, err = binary(); err != nil {
		return "", err
	}
	return launched(path)
})

// launched is what is to be run instead of a program, if SMTPSHIM_LAUNCHER has words
// to put before it, such as those of deploy/systemd/confined.
func launched(path string) (string, error) {
	launcher := os.Getenv("SMTPSHIM_LAUNCHER")
	if launcher == "" {
		return path, nil
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", launcher, path)
	return path + "-launched", os.WriteFile(path+"-launched", []byte(script), 0o755)
}

// programDir is where it lies.
var programDir string

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "smtpshim-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(programDir)
	os.Exit(status)
}

// A shim is a running smtpshim with one route.
type shim struct {
	addr  string // of the route
	admin string
	path  string // of its configuration
	proc  *os.Process
	log   *real.Log
}

// shimOptions is what its configuration says beyond "listen".
type shimOptions struct {
	server string
	rules  []string // nil: the key is absent

	clientTLS string   // client_tls.mode, with a certificate of ca's; "": the key is absent
	serverTLS string   // server_tls.mode, for a server with a certificate of ca's; "": the key is absent
	ca        *real.CA // for these two

	clientSays, serverSays string // further lines of [route.client_tls] and [route.server_tls]
	routeSays              string // and of the route

	says      string // tables before the route
	loginSays string // those of [[route.login]]
	logLevel  string // "": info
}

// startShim runs smtpshim until the test ends.
func startShim(t *testing.T, o shimOptions) shim {
	t.Helper()
	s := shim{addr: real.FreeAddr(), admin: real.FreeAddr()}
	s.path = filepath.Join(real.Dir(t), "smtpshim.toml")
	if err := os.WriteFile(s.path, []byte(s.config(t, o)), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s.proc, s.log = real.StartLogged(t, []string{"GORACE=halt_on_error=1"}, path, "run", "-config", s.path)
	real.Listening(t, s.admin)
	real.Listening(t, s.addr)
	return s
}

// logged waits for words in the log.
func (s shim) logged(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		real.Wait(t, fmt.Sprintf("the log to say %q", w), func() bool { return strings.Contains(s.log.String(), w) })
	}
}

// counted wants a line in the metrics.
func (s shim) counted(t *testing.T, line string) {
	t.Helper()
	real.Wait(t, "the metrics to say "+line, func() bool {
		response, err := http.Get("http://" + s.admin + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && slices.Contains(strings.Split(string(text), "\n"), line)
	})
}

// config writes the TOML file.
func (s shim) config(t *testing.T, o shimOptions) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "state_dir = \"state\"\n[admin]\nlisten = %q\n[log]\nlevel = %q\n%s\n", s.admin, cmp.Or(o.logLevel, "info"), o.says)
	fmt.Fprintf(&text, "[[route]]\nname = \"peers\"\nlisten = [%q]\nservers = [%q]\n", s.addr, o.server)
	if o.rules != nil {
		fmt.Fprintf(&text, "rules = [%s]\n", quoted(o.rules))
	}
	fmt.Fprintln(&text, o.routeSays)
	if o.clientTLS != "" {
		host, _, _ := strings.Cut(s.addr, ":")
		fmt.Fprintf(&text, "[route.client_tls]\nmode = %q\n", o.clientTLS)
		if o.clientTLS != "hide" && !strings.Contains(o.clientSays, "certificate = ") {
			certificate, key := o.ca.Issue(t, host)
			fmt.Fprintf(&text, "certificate = %q\nkey = %q\n", certificate, key)
		}
		fmt.Fprintln(&text, o.clientSays)
	}
	if o.serverTLS != "" {
		fmt.Fprintf(&text, "[route.server_tls]\nmode = %q\n", o.serverTLS)
		if o.ca != nil && o.serverTLS != "opportunistic" {
			fmt.Fprintf(&text, "ca = %q\n", o.ca.File)
		}
		fmt.Fprintln(&text, o.serverSays)
	}
	fmt.Fprintln(&text, o.loginSays)
	return text.String()
}

func quoted(list []string) string {
	var words []string
	for _, w := range list {
		words = append(words, fmt.Sprintf("%q", w))
	}
	return strings.Join(words, ", ")
}

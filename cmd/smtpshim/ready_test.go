package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestReadyTellsWhetherItIs asks a smtpshim that serves, and the same when it stops.
func TestReadyTellsWhetherItIs(t *testing.T) {
	address := freeAddress(t)
	r := start(t, address, mailServer(t))
	for _, asked := range [][]string{{"-config", r.path}, {"http://" + r.admin}, {"http://" + r.admin + "/"}} {
		if status, out, err := call(append([]string{"ready"}, asked...)...); status != succeeded || out != "ready\n" || err != "" {
			t.Errorf("%q: %d, %q, %q", asked, status, out, err)
		}
	}
	say := connect(t, address)
	say("HELO client.example.com", "250")
	say("MAIL FROM:<a@example.com>", "250")
	say("RCPT TO:<b@example.com>", "250")
	say("DATA", "354") // a message under way keeps it from ending
	r.signals <- syscall.SIGTERM
	r.logged("msg=draining")
	const want = "/readyz says 503 Service Unavailable: not ready: it is starting or stopping\n"
	if status, out, err := call("ready", "-config", r.path); status != failed || out != "" || !strings.HasSuffix(err, want) {
		t.Errorf("while it stops: %d, %q, %q", status, out, err)
	}
	if status, out, err := call("ready", "-alive", "-config", r.path); status != succeeded || out != "alive\n" {
		t.Errorf("alive while it stops: %d, %q, %q", status, out, err)
	}
	r.signals <- syscall.SIGTERM
	r.ended()
	if status, _, err := call("ready", "-config", r.path); status != failed || !strings.Contains(err, r.admin) {
		t.Errorf("when nobody listens: %d, %q", status, err)
	}
}

func TestReadyCurrentFailsWhileTheFileIsNotInForce(t *testing.T) {
	r := start(t, freeAddress(t), mailServer(t))
	if status, out, err := call("ready", "-current", "-config", r.path); status != succeeded || out != "ready\n" || err != "" {
		t.Errorf("as started: %d, %q, %q", status, out, err)
	}
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.path, string(text)+"\nrulez = []\n")
	r.signals <- syscall.SIGHUP
	r.logged("not reloaded")
	if status, out, err := call("ready", "-current", "http://"+r.admin); status != failed || out != "" || !strings.Contains(err, "older than "+r.path) {
		t.Errorf("after a mistake: %d, %q, %q", status, out, err)
	}
	if status, out, _ := call("ready", "http://"+r.admin); status != succeeded || out != "ready\n" {
		t.Errorf("without -current: %d, %q", status, out)
	}
	write(t, r.path, string(text))
	r.signals <- syscall.SIGHUP
	r.logged("msg=reloaded")
	if status, out, err := call("ready", "-current", "http://"+r.admin); status != succeeded || out != "ready\n" {
		t.Errorf("mended: %d, %q, %q", status, out, err)
	}
}

func TestReadySaysWhyItCannotTell(t *testing.T) {
	configDir(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("route a\nroute \x1b[2J\n"))
	}))
	defer other.Close()
	for _, c := range []struct {
		args   string
		status int
		err    string
	}{
		{"ready " + other.URL, failed, `"route a; route \x1b[2J"`},
		{"ready example.com", misused, `"example.com" is no URL`},
		{"ready -config none.toml", failed, "reading none.toml"},
		{"ready -config everything.toml", failed, "turned off"},
		{"ready -alive -current " + other.URL, misused, "-alive asks only whether it answers"},
		{"ready a b", misused, `"b" is one word too many`},
	} {
		if status, _, err := call(strings.Fields(c.args)...); status != c.status || !strings.Contains(err, c.err) {
			t.Errorf("%q: %d, %s", c.args, status, err)
		}
	}
}

package token

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// refreshAll is a process of its own: it makes so many sources in turn and gets a
// token of each.
func refreshAll(args []string) int {
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return 2
	}
	for range count {
		s, err := New(processSettings(args[0], args[1]))
		if err == nil {
			_, err = s.Token(context.Background())
			s.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func processSettings(tokenURL, dir string) Settings {
	return Settings{Account: "office", Flow: RefreshToken, TokenURL: tokenURL, ClientID: "id", StateDir: dir}
}

func TestTwoProcessesLoseNoRefreshToken(t *testing.T) {
	r := newRotator(time.Hour)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		reply, err := r.RoundTrip(q)
		if err != nil {
			panic(err)
		}
		copyReply(w, reply)
	}))
	defer server.Close()
	settings := processSettings(server.URL, t.TempDir())
	if err := settings.writeState(newSecret("refresh-0")); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const each = 15
	var running []*exec.Cmd
	for range 3 {
		c := exec.Command(self, "as-command", "refresh", settings.TokenURL, settings.StateDir, strconv.Itoa(each))
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, c)
	}
	for _, c := range running {
		if err := c.Wait(); err != nil {
			t.Errorf("a process failed: %v", err)
		}
	}
	if r.count() != 3*each || r.most != 1 || r.twice {
		t.Errorf("of %d requests up to %d were made at once, and one token was spent twice: %v; want %d, 1, false", r.count(), r.most, r.twice, 3*each)
	}
	if got, want := onDisk(t, settings), r.current(); got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}

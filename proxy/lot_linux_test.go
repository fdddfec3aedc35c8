package proxy

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

func TestAnIdleSessionOverSocketsHasNoGoroutine(t *testing.T) {
	dir := t.TempDir()
	greeter(t, "unix", filepath.Join(dir, "out.sock"), "a")
	p := apply(t, &Route{Listen: []string{"unix:" + filepath.Join(dir, "in.sock")}, Servers: []string{"unix:" + filepath.Join(dir, "out.sock")}})
	conn, err := net.Dial("unix", filepath.Join(dir, "in.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	parked := smtptest.Pause(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			lot := p.idleLot()
			lot.mu.Lock()
			n := len(lot.parked)
			lot.mu.Unlock()
			if n == 1 {
				return
			}
		}
	})
	if err := smtptest.Play(conn, 20*time.Second, smtptest.Expect("220 a"), parked,
		smtptest.Say("NOOP"), smtptest.Expect("250 ok"), parked, smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
}

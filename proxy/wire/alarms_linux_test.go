//go:build !portable

package wire

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// timed is a connection in a loop whose clock moves when move is called. wakes checks when
// the loop wakes by itself; 0: it does not.
func timed(t *testing.T) (near *socket, move func(time.Duration), wakes func(time.Duration)) {
	t.Helper()
	ls, start := newTestLoops(t, io.Discard), time.Unix(1e9, 0)
	var passed atomic.Int64
	ls.config.Now = func() time.Time { return start.Add(time.Duration(passed.Load())) }
	if err := ls.start(); err != nil {
		t.Fatal(err)
	}
	a, _ := connected(t)
	near, err := ls.all[0].adopt(a, netip.MustParseAddrPort(a.RemoteAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	t.Cleanup(func() { near.Close() })
	move = func(d time.Duration) { passed.Add(int64(d)) }
	wakes = func(want time.Duration) {
		t.Helper()
		var at time.Time
		var ok bool
		for late := time.Now().Add(10 * time.Second); time.Now().Before(late); runtime.Gosched() {
			ls.Wake()
			if at, ok = ls.NextWake(); ok == (want != 0) && (!ok || at.Sub(start) == want) {
				return
			}
		}
		if !ok {
			at = start
		}
		t.Fatalf("the loop wakes after %v, want %v; 0s: it does not wake", at.Sub(start), want)
	}
	return near, move, wakes
}

func TestALoopWakesAtItsFirstDeadline(t *testing.T) {
	near, move, wakes := timed(t)
	in := func(seconds int) time.Time { return near.now().Add(time.Duration(seconds) * time.Second) }
	wakes(0)
	near.SetReadDeadline(in(10))
	wakes(10 * time.Second)
	near.SetWriteDeadline(in(20))
	wakes(10 * time.Second)
	near.SetReadDeadline(in(5)) // earlier than before
	wakes(5 * time.Second)
	near.SetWriteDeadline(in(3)) // earlier than the first
	wakes(3 * time.Second)
	near.SetWriteDeadline(time.Time{})
	near.SetReadDeadline(in(30)) // later: a loop that sleeps already may wake in vain
	move(5 * time.Second)
	wakes(30 * time.Second)
	near.SetReadDeadline(time.Time{})
	move(25 * time.Second)
	wakes(0)
	if n := len(near.loop.alarms); n != 0 {
		t.Errorf("%d alarms are left", n)
	}
}

func TestADeadlineThatPassesEndsWhatItIsFor(t *testing.T) {
	for which, set := range [2]func(*socket, time.Time) error{(*socket).SetReadDeadline, (*socket).SetWriteDeadline} {
		near, move, wakes := timed(t)
		ended := [2]chan error{make(chan error, 1), make(chan error, 1)}
		for which, ended := range ended {
			go func() { ended <- near.do(which, func(uintptr) bool { return false }) }()
		}
		set(near, near.now().Add(time.Minute))
		wakes(time.Minute)
		move(time.Minute)
		wakes(0)
		select {
		case err := <-ended[which]:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("direction %d: %v, want a timeout", which, err)
			}
		case err := <-ended[1-which]:
			t.Errorf("direction %d ended with %v at the deadline of the other", 1-which, err)
		case <-time.After(10 * time.Second):
			t.Errorf("direction %d does not end", which)
		}
		near.Close()
	}
}

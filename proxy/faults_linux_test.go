//go:build !portable

package proxy

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest"
)

// TestTheFaultTableInTheLoops plays the cells of the fault table that take time once more,
// over TCP in the loops, whose clock the test moves. What comes of them must be the same
// as in memory, at the same times.
func TestTheFaultTableInTheLoops(t *testing.T) {
	table, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows, stuck := strings.Split(string(table), "\n"), false
	eachCell(t, func(_ [3]int, c *cell) {
		if !c.timed {
			return
		}
		t.Run(c.name, func(t *testing.T) {
			if stuck {
				t.Fatal("the clock of an earlier cell is stuck")
			}
			on := &inLoops{}
			got := c.run(t, on)
			if stuck = on.stuck != ""; stuck {
				t.Errorf("the clock is stuck: %s", on.stuck)
			}
			if slices.Contains(rows, got) {
				return
			}
			for _, row := range rows {
				if strings.HasPrefix(row, got[:strings.Index(got, "|")]) {
					t.Errorf("want %s", row)
				}
			}
			t.Errorf("got  %s", got)
		})
	})
}

// inLoops is for a cell in the loops, with a clock that moves when all wait.
type inLoops struct {
	*testClock
	stuck string // why the clock has given up; "": it has not
}

func (on *inLoops) patience() time.Duration { return testPatience } // which nobody looks at
func (on *inLoops) end()                    { on.stuck = on.stop() }

func (on *inLoops) meet(t *testing.T, c *cell, p *Proxy, serve func(net.Conn)) net.Conn {
	on.testClock = newTestClock(2)
	p.clock = on.time
	if c.phase == "connect" {
		on.leave()
		c.route.Servers[0] = deaf(t).String()
	} else {
		small := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10) })
			if err == nil {
				err = failed
			}
			return err
		}}
		l, err := small.Listen(context.Background(), "tcp", smtptest.Loopback()+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		c.route.Servers[0] = l.Addr().String()
		go func() {
			defer on.leave()
			if conn, err := l.Accept(); err == nil {
				serve(on.conn(conn))
			}
		}()
	}
	client := on.conn(enter(t, c, p))
	on.loops = p.loops
	go on.drive()
	return client
}

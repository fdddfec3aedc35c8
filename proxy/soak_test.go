package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy"
)

// TestSoak has sessions break for as long as SMTPSHIM_SOAK says, such as "10m",
// while routes come, change and go, and wants what was there before it: no
// goroutine more, no descriptor, and no memory to speak of.
func TestSoak(t *testing.T) {
	v := os.Getenv("SMTPSHIM_SOAK")
	if v == "" {
		t.Skip("SMTPSHIM_SOAK=10m would let sessions break for ten minutes")
	}
	lasts, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	const kept = 8 << 20 // pools, and what the runtime keeps
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	goroutines, open, held := runtime.NumGoroutine(), descriptors(t), heap()
	t.Run("", func(t *testing.T) {
		p := quiet()
		defer p.Close()
		var sessions atomic.Int64
		until, reloads := time.Now().Add(lasts), 0
		more := func(int) bool {
			sessions.Add(1)
			return time.Now().Before(until)
		}
		all := chaos(t, p, seed, more, func(routes []*proxy.Route) {
			for tick := time.Tick(50 * time.Millisecond); time.Now().Before(until) && !t.Failed(); reloads++ {
				<-tick
				if err := p.Apply(changed(t, routes, reloads)); err != nil {
					t.Error(err)
				}
			}
		})
		t.Logf("%d sessions, %d reloads: %v", sessions.Load(), reloads, all)
	})
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines && descriptors(t) <= open })
	if now := heap(); now > held+kept {
		t.Errorf("the heap held %d octets, and holds %d", held, now)
	}
	t.Logf("goroutines %d, descriptors %d, heap %d; before: %d, %d, %d", runtime.NumGoroutine(), descriptors(t), heap(), goroutines, open, held)
}

// changed are routes with their rules and limits changed, and one that comes
// and goes.
func changed(t *testing.T, routes []*proxy.Route, n int) []*proxy.Route {
	var all []*proxy.Route
	for _, r := range routes {
		changed := *r
		if n%2 == 0 && r.Rules == nil {
			changed.Rules = compile(t, "standard")
		}
		changed.Limits.Recipients = 100 + n%7
		all = append(all, &changed)
	}
	if n%3 == 0 {
		come := *routes[0]
		come.Name, come.Listen = "comes-and-goes", []string{fmt.Sprintf("127.0.1.%d:0", 1+n%5)}
		all = append(all, &come)
	}
	return all
}

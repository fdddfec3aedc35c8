package login

import (
	"context"
	"sync"
	"time"
)

// A minute limits the number of messages in any period of a minute.
type minute struct {
	mu   sync.Mutex
	past []time.Time // times of the last messages; the oldest is at next
	next int
}

func newMinute(messages int) *minute { return &minute{past: make([]time.Time, messages)} }

// take counts a message. If there is no room for one, it returns how long to wait.
func (m *minute) take(now time.Time) (wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if oldest := m.past[m.next]; !oldest.IsZero() {
		if wait = oldest.Add(time.Minute).Sub(now); wait > 0 {
			return wait
		}
	}
	m.past[m.next] = now
	m.next = (m.next + 1) % len(m.past)
	return 0
}

// pass waits for room for a message. It fails at once if that would take longer than
// most.
func (m *minute) pass(ctx context.Context, now func() time.Time, most time.Duration) error {
	last := now().Add(most)
	for {
		at := now()
		wait := m.take(at)
		if wait == 0 {
			return nil
		}
		if at.Add(wait).After(last) {
			return errBusy
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errBusy
		}
	}
}

package wire

import (
	"sync/atomic"
	"time"
)

// A logLimiter lets one failure a second into the log. It holds when the last one was
// let in, in nanoseconds since 1970.
type logLimiter atomic.Int64

// allows reports whether to log a failure that happens now.
func (l *logLimiter) allows(now time.Time) bool {
	last := (*atomic.Int64)(l)
	before := last.Load()
	return now.UnixNano()-before >= int64(time.Second) && last.CompareAndSwap(before, now.UnixNano())
}

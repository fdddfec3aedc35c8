package proxy

import (
	"maps"
	"sync"
	"time"
)

// lessons holds what was learned about the servers of a route, such as that STARTTLS
// fails, and when each lesson ends. The zero value holds none.
type lessons struct {
	mu    sync.Mutex
	until map[lesson]time.Time
}

type lesson struct{ server, key string }

// maxLessons limits how many lessons are kept. Where clients choose the server, there may
// be any number of servers.
const maxLessons = 10_000

func (l *lessons) remember(what lesson, lasts time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.until) >= maxLessons {
		maps.DeleteFunc(l.until, func(_ lesson, until time.Time) bool { return now.After(until) })
	}
	if l.until == nil {
		l.until = map[lesson]time.Time{}
	}
	if _, known := l.until[what]; known || len(l.until) < maxLessons {
		l.until[what] = now.Add(lasts)
	}
}

func (l *lessons) remembers(what lesson) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.until) == 0 {
		return false
	}
	until, known := l.until[what]
	if known && time.Now().After(until) {
		delete(l.until, what)
		return false
	}
	return known
}

// A taught is a session as the rewrite.Memory of its dialogue. It holds the lessons about
// the session's server.
type taught session

func (s *taught) Remember(key string, seconds int) {
	s.route.lessons.remember(lesson{s.serverName, key}, time.Duration(seconds)*time.Second)
}

func (s *taught) Remembers(key string) bool {
	return s.route.lessons.remembers(lesson{s.serverName, key})
}

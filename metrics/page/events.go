package page

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	mostListeners = 16               // of one stream
	heartbeat     = 15 * time.Second // between signs of life where nothing happens
	patience      = 30 * time.Second // with a reader who takes nothing
)

// A Stream serves events as Server-Sent Events (HTML Living Standard, 9.2), each
// with the JSON of its notice as data. It takes at most 16 listeners at once, and
// says 503 to more.
type Stream[E any] struct {
	watch  func(Filter) (events <-chan E, stop func())
	notice func(E) any
	slots  chan struct{}
	done   chan struct{}
	close  func()
}

// NewStream returns a stream of what watch gives for the filter of a request's
// query (route, healed, outcome), until it is stopped. notice makes of an event what
// listeners get. It is called once for each listener, and may take its time: only
// that listener waits.
func NewStream[E any](watch func(Filter) (events <-chan E, stop func()), notice func(E) any) *Stream[E] {
	done := make(chan struct{})
	return &Stream[E]{watch, notice, make(chan struct{}, mostListeners), done, sync.OnceFunc(func() { close(done) })}
}

// Close ends what is being served, and all that comes after; it is for
// http.Server.RegisterOnShutdown, which nothing else would end this for.
func (s *Stream[E]) Close() { s.close() }

// ServeHTTP lasts until the listener goes, takes nothing for half a minute, or
// the stream is closed.
func (s *Stream[E]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "16 are listening already", http.StatusServiceUnavailable)
		return
	}
	events, stop := s.watch(filterOf(r))
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	to := http.NewResponseController(w)
	to.SetReadDeadline(time.Time{}) // it would end the request
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := []byte(": here is what happens from now on\n\n")
	for {
		to.SetWriteDeadline(time.Now().Add(patience))
		if _, err := w.Write(text); err != nil || to.Flush() != nil {
			return
		}
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			data, err := json.Marshal(s.notice(e))
			if err != nil {
				return
			}
			text = append(append([]byte("data: "), data...), "\n\n"...)
		case <-beat.C:
			text = []byte(": nothing new\n\n")
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

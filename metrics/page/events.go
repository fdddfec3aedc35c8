package page

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	mostListeners = 16               // listeners of one stream
	heartbeat     = 15 * time.Second // between signs of life when nothing happens
	patience      = 30 * time.Second // for a listener that reads nothing
)

// A Stream is an http.Handler that sends events to listeners, as Server-Sent Events
// (HTML Living Standard, 9.2) in JSON. It has at most 16 listeners at a time and
// answers 503 to others.
type Stream[E any] struct {
	watch  func(Filter) (events <-chan E, stop func())
	notice func(E) any
	slots  chan struct{}
	done   chan struct{}
	close  func()
}

// NewStream returns a stream of events for listeners. A listener is an HTTP request
// that ServeHTTP serves. For each listener the stream calls watch with the filter from
// the request's query (route, healed, outcome). It calls notice for each event that
// comes from the channel events, and sends the result to the listener as JSON. notice
// may block: that delays only this listener.
//
// If the channel is closed, the request ends. At the end of the request the stream
// calls stop.
func NewStream[E any](watch func(Filter) (events <-chan E, stop func()), notice func(E) any) *Stream[E] {
	done := make(chan struct{})
	return &Stream[E]{watch, notice, make(chan struct{}, mostListeners), done, sync.OnceFunc(func() { close(done) })}
}

// Close ends all requests that ServeHTTP serves, and those that begin later. Register
// Close by http.Server.RegisterOnShutdown, because Shutdown would otherwise wait for
// these requests until its context ends.
func (s *Stream[E]) Close() { s.close() }

// ServeHTTP sends events to the listener that made the request r, as text/event-stream.
// It returns when the listener goes, when the listener reads nothing for half a minute,
// or when the stream is closed. It answers 503 if there are 16 listeners already.
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
	w.Header().Set("X-Accel-Buffering", "no") // for nginx
	to := http.NewResponseController(w)
	to.SetReadDeadline(time.Time{}) // a deadline would end the request
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

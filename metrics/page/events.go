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

// A Stream serves events as Server-Sent Events (HTML Living Standard, 9.2). The data of
// each is the JSON of its notice. A Stream has at most 16 listeners at a time and answers
// 503 to others.
type Stream[E any] struct {
	watch  func(Filter) (events <-chan E, stop func())
	notice func(E) any
	slots  chan struct{}
	done   chan struct{}
	close  func()
}

// NewStream returns a stream of events for listeners, each of which is an HTTP request.
// For each listener it calls watch with the filter from the request's query (route,
// healed, outcome), sends the listener what comes from events, and calls stop when the
// listener has gone.
//
// For each event, notice is called once per listener, and returns the value that this
// listener gets as JSON. notice may block: that delays only this listener.
func NewStream[E any](watch func(Filter) (events <-chan E, stop func()), notice func(E) any) *Stream[E] {
	done := make(chan struct{})
	return &Stream[E]{watch, notice, make(chan struct{}, mostListeners), done, sync.OnceFunc(func() { close(done) })}
}

// Close ends all requests that ServeHTTP serves, and those that begin later. Register it
// by http.Server.RegisterOnShutdown, because Shutdown would otherwise wait for these
// requests for ever.
func (s *Stream[E]) Close() { s.close() }

// ServeHTTP sends events to the listener that made the request r, as text/event-stream. It
// returns when the listener goes or reads nothing for half a minute, or the stream is
// closed. It answers 503 if 16 are listening already.
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

package metrics

import (
	"io"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const index = `smtpshim

/metrics   for Prometheus
/healthz   200 while the program lives
/readyz    200 while it takes new sessions and has servers for them, else 503
`

// Admin returns the server for the admin listener. It answers GET and HEAD requests for
// four paths:
//
//	/metrics   the metrics of gatherer
//	/healthz   200 while the program runs
//	/readyz    200 if the program is ready, and otherwise 503
//	/          an index
//
// For each request for /readyz the server calls ready, which must be safe for
// concurrent use. If the program is not ready, ready returns an error that says why. If
// it is ready, err is nil, and note is a problem that does not affect readiness, or "".
// The reply contains the error or the note.
//
// If profiles is true, the server also answers for /debug/pprof/. This is for debugging
// only: it costs time, and shows the program's internals to everybody who can reach the
// listener.
func Admin(gatherer prometheus.Gatherer, ready func() (note string, err error), profiles bool) *http.Server {
	mux := http.NewServeMux()
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch note, err := ready(); {
		case err != nil:
			say(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
		case note != "":
			say(w, http.StatusOK, "ready\n"+note+"\n")
		default:
			say(w, http.StatusOK, "ready\n")
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, index)
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

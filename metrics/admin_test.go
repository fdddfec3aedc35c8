package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAdminAnswers(t *testing.T) {
	reg := prometheus.NewRegistry()
	New(reg, "v1.2.3").Route("in", nil, both)
	var ready atomic.Bool
	note := ""
	admin := Admin(reg, func() (string, error) {
		if ready.Load() {
			return note, nil
		}
		return note, errors.New("on holiday")
	}, false)
	for _, c := range []struct {
		method, path string
		ready        bool
		status       int
		body         string
	}{
		{"GET", "/", true, 200, "/metrics"},
		{"GET", "/healthz", true, 200, "ok\n"},
		{"GET", "/healthz", false, 200, "ok\n"},
		{"GET", "/readyz", true, 200, "ready\n"},
		{"GET", "/readyz", false, 503, "not ready: on holiday\n"},
		{"GET", "/metrics", true, 200, `version="v1.2.3"`},
		{"GET", "/metrics", false, 200, `smtpshim_sessions_active{route="in"} 0`},
		{"GET", "/debug/pprof/", true, 404, ""},
		{"GET", "/nothing", true, 404, ""},
		{"POST", "/healthz", true, 405, ""},
	} {
		ready.Store(c.ready)
		w := httptest.NewRecorder()
		admin.Handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s, ready %v: %d %q, want %d with %q",
				c.method, c.path, c.ready, w.Code, w.Body, c.status, c.body)
		}
	}
	ready.Store(true)
	note = "older than its file"
	w := httptest.NewRecorder()
	admin.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 200 || w.Body.String() != "ready\nolder than its file\n" {
		t.Errorf("with a note: %d %q", w.Code, w.Body)
	}
}

func TestAdminBoundsEveryWait(t *testing.T) {
	admin := Admin(prometheus.NewRegistry(), func() (string, error) { return "", nil }, false)
	if admin.ReadHeaderTimeout <= 0 || admin.ReadTimeout <= 0 || admin.WriteTimeout <= 0 ||
		admin.IdleTimeout <= 0 || admin.MaxHeaderBytes <= 0 || admin.MaxHeaderBytes > http.DefaultMaxHeaderBytes {
		t.Errorf("something is not bounded: %+v", admin)
	}
}

func TestProfilesAreServedOnlyIfAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		admin := Admin(prometheus.NewRegistry(), func() (string, error) { return "", nil }, asked)
		answer := httptest.NewRecorder()
		admin.Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/debug/pprof/", nil))
		if (answer.Code == http.StatusOK) != asked {
			t.Errorf("asked for: %v, status %d", asked, answer.Code)
		}
	}
}

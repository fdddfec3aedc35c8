package metrics

import "github.com/prometheus/client_golang/prometheus"

// Recordings counts the recordings of dialogues that were written to files, and those
// that were lost. It is safe for concurrent use.
type Recordings struct{ total *prometheus.CounterVec }

// NewRecordings returns a Recordings that is registered with reg. It panics if reg already
// has one.
func NewRecordings(reg prometheus.Registerer) *Recordings {
	r := &Recordings{counters("recordings_total", "Recorded dialogues, by outcome.", "outcome")}
	reg.MustRegister(r.total)
	return r
}

// Route creates the series of the route called name, so that its counts begin at 0.
func (r *Recordings) Route(name string) {
	for _, outcome := range []string{"written", "lost"} {
		r.total.WithLabelValues(name, outcome)
	}
}

// Count counts a recording of a session on route. err says why the recording was lost;
// nil: it was written.
func (r *Recordings) Count(route string, err error) {
	outcome := "written"
	if err != nil {
		outcome = "lost"
	}
	r.total.WithLabelValues(route, outcome).Inc()
}

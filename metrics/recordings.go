package metrics

import "github.com/prometheus/client_golang/prometheus"

// Recordings count dialogues that were to be written into files. They are safe for
// concurrent use.
type Recordings struct{ total *prometheus.CounterVec }

// NewRecordings registers them with reg.
func NewRecordings(reg prometheus.Registerer) *Recordings {
	r := &Recordings{counters("recordings_total", "Recorded dialogues, by what became of them.", "outcome")}
	reg.MustRegister(r.total)
	return r
}

// Route has a route's counts begin at 0.
func (r *Recordings) Route(name string) {
	for _, outcome := range []string{"written", "lost"} {
		r.total.WithLabelValues(name, outcome)
	}
}

// Count counts one of a route's; err is why it was lost.
func (r *Recordings) Count(route string, err error) {
	outcome := "written"
	if err != nil {
		outcome = "lost"
	}
	r.total.WithLabelValues(route, outcome).Inc()
}

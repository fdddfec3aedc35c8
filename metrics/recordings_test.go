package metrics

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRecordingsAreCountedFromTheBeginning(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := NewRecordings(reg)
	r.Route("in")
	r.Count("in", nil)
	r.Route("in") // again, as after a reload
	r.Count("out", errors.New("full"))
	want := `# HELP smtpshim_recordings_total Recorded dialogues, by outcome.
# TYPE smtpshim_recordings_total counter
smtpshim_recordings_total{outcome="lost",route="in"} 0
smtpshim_recordings_total{outcome="written",route="in"} 1
smtpshim_recordings_total{outcome="lost",route="out"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWhatIsInForceIsToldAtEachScrape(t *testing.T) {
	list := []Standing{{"in", []string{"fix-hello-name", "join-data-reply"}, 1000}, {"out", nil, 5}}
	reg := prometheus.NewRegistry()
	reg.MustRegister(InForce(func() []Standing { return list }))
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP smtpshim_rules_in_force Always 1, for each rule in force.
# TYPE smtpshim_rules_in_force gauge
smtpshim_rules_in_force{route="in",rule="fix-hello-name"} 1
smtpshim_rules_in_force{route="in",rule="join-data-reply"} 1
# HELP smtpshim_sessions_limit Sessions that may be under way at once.
# TYPE smtpshim_sessions_limit gauge
smtpshim_sessions_limit{route="in"} 1000
smtpshim_sessions_limit{route="out"} 5
`)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	list = list[1:]
	if n := testutil.CollectAndCount(InForce(func() []Standing { return list })); n != 1 {
		t.Errorf("%d series, want that of the route that is left", n)
	}
}

package main

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
	"smtpshim/rewrite/vocabulary"
)

// tellAll has tell hear every word of a list.
func tellAll[T ~string](list []T, tell func(T)) int {
	for _, word := range list {
		tell(word)
	}
	return len(list)
}

func TestEveryWordThatAnObserverHearsHasItsCounter(t *testing.T) {
	registry := prometheus.NewRegistry()
	route := metrics.New(registry, "v1").Route("in", nil, metrics.TLS{})
	told := tellAll(vocabulary.Outcomes(), func(o vocabulary.Outcome) { route.SessionEnded(o, time.Second) })
	told += tellAll(vocabulary.MessageOutcomes(), func(o vocabulary.MessageOutcome) { route.Message(o, 1) })
	told += tellAll(vocabulary.Rejections(), route.Refused)
	told += tellAll(vocabulary.Limits(), route.LimitMet)
	told += tellAll(vocabulary.ServerFailures(), route.ServerFailed)
	told += tellAll(vocabulary.BadReplies(), route.BadReply)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				switch {
				case m.GetCounter().GetValue() == 0:
				case l.GetValue() == "other":
					t.Errorf("%s has %v without a name", f.GetName(), m.GetCounter().GetValue())
				case l.GetName() == "outcome", l.GetName() == "reason", l.GetName() == "limit":
					counted++
				}
			}
		}
	}
	if counted != told {
		t.Errorf("%d of %d words were counted", counted, told)
	}
}

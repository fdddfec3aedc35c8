package metrics

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/rewrite/vocabulary"
)

// labelsOf are the label values that a registry's metrics have, by metric and label.
func labelsOf(t *testing.T, reg *prometheus.Registry) map[string]map[string]bool {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				place := f.GetName() + " " + l.GetName()
				if found[place] == nil {
					found[place] = map[string]bool{}
				}
				found[place][l.GetValue()] = true
			}
		}
	}
	return found
}

// TestNoNameThatComesFromOutsideBecomesALabel throws names at everything that
// takes one. There may be more label values afterwards, but none that is not
// "other".
func TestNoNameThatComesFromOutsideBecomesALabel(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := New(reg, "v1").Route("in", []string{"join-data-reply"}, both)
	everything(r)
	before := labelsOf(t, reg)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := []string{"", "MAIL", "mail ", "join-data-reply\n", "sub2.example.com", "<script>", "\xff\x00", "2xx", strings.Repeat("a", 10_000)}
	for range 2000 {
		name := make([]byte, random.IntN(20))
		for i := range name {
			name[i] = byte(random.Uint32())
		}
		names = append(names, string(name), fmt.Sprintf("verb%d", random.Uint32()))
	}
	for _, name := range names {
		for _, event := range []func(string){
			r.Command, r.RuleApplied, r.RuleBroken,
			func(s string) { r.Refused(vocabulary.Rejection(s)); r.LimitMet(vocabulary.Limit(s)) },
			func(s string) {
				r.Authenticated(vocabulary.Side(s), "PLAIN", "ok")
				r.Authenticated("client", vocabulary.Mechanism(s), "ok")
				r.Authenticated("client", "PLAIN", vocabulary.AuthOutcome(s))
			},
			func(s string) { r.ServerFailed(vocabulary.ServerFailure(s)); r.BadReply(vocabulary.BadReply(s)) },
			func(s string) { r.SessionBegan(); r.SessionEnded(vocabulary.Outcome(s), time.Second) },
			func(s string) { r.Message(vocabulary.MessageOutcome(s), int64(random.Uint64())) },
			func(s string) { r.Bytes(vocabulary.Side(s), int64(random.Uint64())) },
			func(s string) { r.ServerReplied(s, time.Duration(random.Uint64())) },
			func(s string) {
				r.TLS(vocabulary.Side(s), name, name)
				r.TLS("client", s, "x")
				r.TLS("server", "1.3", s)
			},
			func(s string) { r.TLSFailed(vocabulary.Side(s), name); r.TLSFailed("client", s) },
			func(string) { r.Reply(int(random.Uint64())) },
		} {
			event(name)
		}
	}
	for place, values := range labelsOf(t, reg) {
		for value := range maps.Keys(values) {
			if value != "other" && !before[place][value] {
				t.Errorf("%s became %q; the set was %q", place, value, slices.Sorted(maps.Keys(before[place])))
			}
		}
	}
}

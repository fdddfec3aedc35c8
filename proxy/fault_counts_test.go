package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"smtpshim/rewrite/vocabulary"
)

// faultCounts is an observer that counts what went wrong.
type faultCounts struct {
	over  chan struct{} // closed when the session has ended
	mu    sync.Mutex
	n     map[string]int
	ended string
	took  time.Duration
}

func (f *faultCounts) add(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n[what]++
}

// String returns how the session ended, and what was counted. timed: also when it ended.
func (f *faultCounts) String(timed bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ended := f.ended
	if timed {
		ended += fmt.Sprintf(" after %v", f.took)
	}
	counted := []string{ended + " |"}
	for _, what := range slices.Sorted(maps.Keys(f.n)) {
		counted = append(counted, fmt.Sprintf("%s %d", what, f.n[what]))
	}
	return strings.Join(counted, " ")
}

func (f *faultCounts) SessionBegan() {}
func (f *faultCounts) SessionEnded(outcome vocabulary.Outcome, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended, f.took = string(outcome), took
	close(f.over)
}
func (f *faultCounts) Defect()                             { f.add("defect") }
func (f *faultCounts) Refused(reason vocabulary.Rejection) { f.add("refused-" + string(reason)) }
func (f *faultCounts) Recognised(string, vocabulary.Sign)  {}
func (f *faultCounts) LimitMet(vocabulary.Limit)           {}
func (f *faultCounts) ServerAgain()                        {}
func (f *faultCounts) BadReply(vocabulary.BadReply)        {}
func (f *faultCounts) Held(time.Duration)                  {}
func (f *faultCounts) Command(string)                      {}
func (f *faultCounts) Reply(int)                           {}
func (f *faultCounts) RuleApplied(string)                  {}
func (f *faultCounts) RuleBroken(rule string)              { f.add("broken-" + rule) }
func (f *faultCounts) Message(outcome vocabulary.MessageOutcome, _ int64) {
	f.add("message-" + string(outcome))
}
func (f *faultCounts) Bytes(vocabulary.Side, int64)                 {}
func (f *faultCounts) ServerConnected(time.Duration)                {}
func (f *faultCounts) ServerReplied(string, time.Duration)          {}
func (f *faultCounts) ServerFailed(reason vocabulary.ServerFailure) { f.add(string(reason)) }
func (f *faultCounts) TLS(_ vocabulary.Side, _, _ string)           {}
func (f *faultCounts) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}
func (f *faultCounts) TLSFailed(side vocabulary.Side, _ string) { f.add("tls-" + string(side)) }

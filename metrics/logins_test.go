package metrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"smtpshim/rewrite/vocabulary"
)

var (
	office = Account{Name: "office", Routes: []string{"in", "plant"}, Mechanisms: []string{"XOAUTH2", "OAUTHBEARER"}, Tokens: true}
	backup = Account{Name: "backup", Routes: []string{"in"}, Mechanisms: []string{"PLAIN"}}
)

func newLogins(t *testing.T, accounts ...Account) (*Logins, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	l := NewLogins(reg)
	l.InForce(accounts)
	return l, reg
}

func TestLoginsAreCountedByRouteAccountAndMechanism(t *testing.T) {
	l, reg := newLogins(t, office, backup)
	end := time.Unix(1800000000, 0)
	l.LoggedIn("in", "office", "XOAUTH2", vocabulary.LoginOK)
	l.LoggedIn("in", "office", "XOAUTH2", vocabulary.LoginOK)
	l.LoggedIn("plant", "office", "XOAUTH2", vocabulary.LoginRefused)
	l.LoggedIn("in", "backup", "PLAIN", vocabulary.LoginFailed)
	l.LoggedIn("in", "office", "", vocabulary.LoginBusy)
	l.TokenRequest("office", vocabulary.TokenOK)
	l.TokenRequest("office", vocabulary.TokenInvalidClient)
	l.TokenExpires("office", end)
	for what, c := range map[string]struct {
		from prometheus.Collector
		want float64
	}{
		"logins":            {l.logins.WithLabelValues("in", "office", "XOAUTH2", "ok"), 2},
		"refused":           {l.logins.WithLabelValues("plant", "office", "XOAUTH2", "refused"), 1},
		"failed":            {l.logins.WithLabelValues("in", "backup", "PLAIN", "failed"), 1},
		"busy":              {l.logins.WithLabelValues("in", "office", "none", "busy"), 1},
		"tokens":            {l.requests.WithLabelValues("office", "ok"), 1},
		"no tokens":         {l.requests.WithLabelValues("office", "invalid-client"), 1},
		"the token's end":   {l.expiry.WithLabelValues("office"), 1.8e9},
		"what has not been": {l.logins.WithLabelValues("in", "office", "OAUTHBEARER", "ok"), 0},
	} {
		if got := testutil.ToFloat64(c.from); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// An alert that asks for an increase sees nothing of a series that begins at 1.
func TestEveryCountOfAnAccountBeginsAtZero(t *testing.T) {
	l, _ := newLogins(t, office)
	all := func() [2]int {
		return [2]int{testutil.CollectAndCount(l.logins), testutil.CollectAndCount(l.requests)}
	}
	before := all()
	for _, outcome := range vocabulary.LoginOutcomes() {
		for _, mechanism := range append([]string{""}, office.Mechanisms...) {
			if mechanism == "" && outcome == vocabulary.LoginOK || mechanism != "" && !possible(mechanism, outcome) {
				continue
			}
			l.LoggedIn("plant", "office", mechanism, outcome)
		}
	}
	for _, outcome := range vocabulary.TokenOutcomes() {
		l.TokenRequest("office", outcome)
	}
	if after := all(); after != before {
		t.Errorf("%v series of logins and requests became %v", before, after)
	}
}

func TestAReloadTakesAwayTheSeriesOfAccountsThatAreNoMore(t *testing.T) {
	l, reg := newLogins(t, office, backup)
	l.TokenExpires("office", time.Unix(1800000000, 0))
	l.LoggedIn("in", "office", "LOGIN", vocabulary.LoginOK) // counted as "other"
	l.LoggedIn("in", "backup", "PLAIN", vocabulary.LoginOK)

	l.InForce([]Account{backup, {Name: "office", Routes: []string{"plant"}, Mechanisms: []string{"XOAUTH2"}, Tokens: true}})
	found := labelsOf(t, reg)
	if got := found["smtpshim_logins_total mechanism"]; got["OAUTHBEARER"] || got["other"] || !got["XOAUTH2"] {
		t.Errorf("the mechanisms are %v", got)
	}
	if !found["smtpshim_token_expiry_timestamp_seconds account"]["office"] {
		t.Error("the end of the token of an account that stays is gone")
	}

	l.InForce([]Account{backup})
	l.LoggedIn("plant", "office", "XOAUTH2", vocabulary.LoginOK) // of a session that began before
	l.TokenRequest("office", vocabulary.TokenOK)
	l.TokenExpires("office", time.Unix(1800000000, 0))
	for place, values := range labelsOf(t, reg) {
		if strings.HasSuffix(place, " account") && values["office"] {
			t.Errorf("%s is still there", place)
		}
	}
	if got := testutil.ToFloat64(l.logins.WithLabelValues("in", "backup", "PLAIN", "ok")); got != 1 {
		t.Errorf("the account that stays has %v logins, want 1", got)
	}

	l.InForce(nil)
	if families, err := reg.Gather(); err != nil || len(families) > 0 {
		t.Errorf("without accounts there are %v, %v", families, err)
	}
}

func TestNoMechanismAndNoOutcomeFromOutsideBecomesALabel(t *testing.T) {
	l, reg := newLogins(t, office)
	l.LoggedIn("in", "office", "X-EVIL\xff", "strange")
	l.LoggedIn("elsewhere", "office", "XOAUTH2", vocabulary.LoginOK)
	l.LoggedIn("in", "nobody", "XOAUTH2", vocabulary.LoginOK)
	l.TokenRequest("office", "strange")
	l.TokenRequest("nobody", vocabulary.TokenOK)
	for place, values := range labelsOf(t, reg) {
		for value := range values {
			if slices.Contains([]string{"X-EVIL\xff", "strange", "elsewhere", "nobody"}, value) {
				t.Errorf("%s is %q", place, value)
			}
		}
	}
}

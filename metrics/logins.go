package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/rewrite/vocabulary"
)

// An Account has what Logins needs to know about an account of the configuration, with
// which smtpshim logs in to servers.
type Account struct {
	Name       string
	Routes     []string // names of the routes that log in with the account
	Mechanisms []string // mechanisms that the account may use, such as "XOAUTH2"
	Tokens     bool     // the account logs in with access tokens
}

// noMechanism is the label of a login that ended before a mechanism was chosen.
// Prometheus treats an empty label as missing.
const noMechanism = "none"

// Logins counts smtpshim's own logins at servers, and its requests for access tokens.
// It counts only for the accounts of the last call of InForce; before the first call,
// it counts nothing. It implements login.Observer and token.Observer without importing
// them. It is safe for concurrent use.
type Logins struct {
	logins   *prometheus.CounterVec
	requests *prometheus.CounterVec
	expiry   *prometheus.GaugeVec

	mu     sync.RWMutex
	uses   map[use]map[string]bool // the mechanisms that have a series, by use
	tokens map[string]bool         // accounts that log in with tokens
}

// A use is the use of an account by a route.
type use struct{ route, account string }

// NewLogins returns a Logins that is registered with reg. It panics if reg already has
// one.
func NewLogins(reg prometheus.Registerer) *Logins {
	l := &Logins{
		logins: counters("logins_total", "Logins of smtpshim at servers, by account, mechanism and outcome.", "account", "mechanism", "outcome"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts(opts("token_requests_total",
			"Requests for access tokens, by account and outcome.")), []string{"account", "outcome"}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("token_expiry_timestamp_seconds",
			"When the access token of an account ends that was obtained last, in seconds since 1970.")), []string{"account"}),
	}
	reg.MustRegister(l.logins, l.requests, l.expiry)
	return l
}

// InForce sets the accounts to count for: those of the current configuration. The
// counts of an account on a route begin at 0, or continue if the last call had the
// account on that route too. The series of all other accounts are removed. Call InForce
// before the accounts are used: events of other accounts are not counted.
func (l *Logins) InForce(accounts []Account) {
	uses, tokens := map[use]map[string]bool{}, map[string]bool{}
	for _, a := range accounts {
		for _, route := range a.Routes {
			mechanisms := map[string]bool{noMechanism: true}
			for _, m := range a.Mechanisms {
				mechanisms[m] = true
			}
			uses[use{route, a.Name}] = mechanisms
		}
		if a.Tokens {
			tokens[a.Name] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for u, mechanisms := range l.uses {
		if uses[u] == nil {
			l.logins.DeletePartialMatch(prometheus.Labels{"route": u.route, "account": u.account})
			continue
		}
		for m := range mechanisms {
			if !uses[u][m] {
				l.logins.DeletePartialMatch(prometheus.Labels{"route": u.route, "account": u.account, "mechanism": m})
			}
		}
	}
	for name := range l.tokens {
		if !tokens[name] {
			l.requests.DeletePartialMatch(prometheus.Labels{"account": name})
			l.expiry.DeleteLabelValues(name)
		}
	}
	l.uses, l.tokens = uses, tokens
	l.begin()
}

// begin creates the series that each account in force may need. The caller holds mu.
func (l *Logins) begin() {
	for u, mechanisms := range l.uses {
		for m := range mechanisms {
			for _, outcome := range vocabulary.LoginOutcomes() {
				if possible(m, outcome) {
					l.logins.WithLabelValues(u.route, u.account, m, string(outcome))
				}
			}
		}
	}
	for name := range l.tokens {
		for _, outcome := range vocabulary.TokenOutcomes() {
			l.requests.WithLabelValues(name, string(outcome))
		}
	}
}

// possible reports whether a login by a mechanism, or before one was chosen, may end with
// this outcome.
func possible(mechanism string, outcome vocabulary.LoginOutcome) bool {
	switch outcome {
	case vocabulary.LoginOK:
		return mechanism != noMechanism
	case vocabulary.LoginNoCredentials, vocabulary.LoginBusy:
		return mechanism == noMechanism
	}
	return true
}

// LoggedIn counts an attempt to log in at a server of route with account, by mechanism
// and outcome. mechanism is "" if none was chosen. Accounts that InForce did not name
// for route are ignored.
func (l *Logins) LoggedIn(route, account, mechanism string, outcome vocabulary.LoginOutcome) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	mechanisms := l.uses[use{route, account}]
	if mechanisms == nil {
		return
	}
	if mechanism == "" {
		mechanism = noMechanism
	}
	if !mechanisms[mechanism] {
		mechanism = "other"
	}
	l.logins.WithLabelValues(route, account, mechanism, known(outcome, vocabulary.LoginOutcomes())).Inc()
}

// TokenRequest counts a request for an access token of account by its outcome. Accounts
// that InForce did not name, or named without Tokens, are ignored.
func (l *Logins) TokenRequest(account string, outcome vocabulary.TokenOutcome) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.tokens[account] {
		l.requests.WithLabelValues(account, known(outcome, vocabulary.TokenOutcomes())).Inc()
	}
}

// TokenExpires records that the newest access token of account expires at the time at.
// Accounts that InForce did not name, or named without Tokens, are ignored.
func (l *Logins) TokenExpires(account string, at time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.tokens[account] {
		l.expiry.WithLabelValues(account).Set(float64(at.Unix()))
	}
}

// known returns word if the list has it, else "other".
func known[T ~string](word T, list []T) string {
	if slices.Contains(list, word) {
		return string(word)
	}
	return "other"
}

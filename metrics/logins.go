package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/rewrite/vocabulary"
)

// An Account is one of the configuration's, by which we log in to servers.
type Account struct {
	Name       string
	Routes     []string // whose clients use it
	Mechanisms []string // that it may use, as the AUTH command names them
	Tokens     bool     // it logs in by access tokens
}

// noMechanism is the mechanism of a login that ended before one was chosen, since
// Prometheus takes an empty label for one that is missing.
const noMechanism = "none"

// Logins count logins of ours at servers, and requests for the tokens that they need.
// They satisfy login.Observer and token.Observer without knowing them, and are safe for
// concurrent use. Only accounts in force are counted.
type Logins struct {
	logins   *prometheus.CounterVec
	requests *prometheus.CounterVec
	expiry   *prometheus.GaugeVec

	mu     sync.RWMutex
	uses   map[use]map[string]bool // with the mechanisms that have a series
	tokens map[string]bool         // accounts that log in by tokens
}

// A use is that of an account by a route.
type use struct{ route, account string }

// NewLogins registers them with reg.
func NewLogins(reg prometheus.Registerer) *Logins {
	l := &Logins{
		logins: counters("logins_total", "Logins of ours at servers, by account, mechanism and what became of them.", "account", "mechanism", "outcome"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts(opts("token_requests_total",
			"Requests for access tokens, by account and what became of them.")), []string{"account", "outcome"}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("token_expiry_timestamp_seconds",
			"When the access token of an account ends that was obtained last, in seconds since 1970.")), []string{"account"}),
	}
	reg.MustRegister(l.logins, l.requests, l.expiry)
	return l
}

// InForce says which accounts the configuration in force has. Their counts begin at 0,
// or go on where they were; the series of all others are taken away. Call it before
// the accounts are used: what happens to one that is not in force is not counted.
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

// begin gives each account in force the series that it may need. The caller holds mu.
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

// possible reports whether a login may end so by a mechanism, or before one was chosen.
func possible(mechanism string, outcome vocabulary.LoginOutcome) bool {
	switch outcome {
	case vocabulary.LoginOK:
		return mechanism != noMechanism
	case vocabulary.LoginNoCredentials, vocabulary.LoginBusy:
		return mechanism == noMechanism
	}
	return true
}

// LoggedIn counts a login. mechanism is "" where none was chosen.
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

// TokenRequest counts a request for a token.
func (l *Logins) TokenRequest(account string, outcome vocabulary.TokenOutcome) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.tokens[account] {
		l.requests.WithLabelValues(account, known(outcome, vocabulary.TokenOutcomes())).Inc()
	}
}

// TokenExpires notes when an account's new token ends.
func (l *Logins) TokenExpires(account string, at time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.tokens[account] {
		l.expiry.WithLabelValues(account).Set(float64(at.Unix()))
	}
}

// known is the word as a label value if the list has it, else "other".
func known[T ~string](word T, list []T) string {
	if slices.Contains(list, word) {
		return string(word)
	}
	return "other"
}

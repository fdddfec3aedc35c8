package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/rewrite/vocabulary"
)

// The closed sets of label values that package vocabulary does not define. Any other
// value is "other".
var (
	verbs = []string{"ehlo", "helo", "lhlo", "starttls", "auth", "xauth", "mail", "rcpt", "data", "bdat", "rset",
		"noop", "quit", "vrfy", "expn", "help", "etrn", "turn", "atrn", "xclient", "xforward", "proxy", "xexch50",
		"x-link2state", "x-anonymoustls", "x-exps", "other"}
	// timed are the verbs whose replies have a histogram of their own. Each costs a
	// series for every bucket.
	timed   = []string{"ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "end-of-data", "bdat", "quit", "other"}
	classes = []string{"2xx", "3xx", "4xx", "5xx"}
	// handshakes are the reasons for which TLS handshakes fail.
	handshakes = []string{"version", "cipher", "certificate-expired", "certificate-not-yet-valid", "certificate-name",
		"certificate-authority", "certificate-weak", "certificate-refused", "pin", "client-certificate",
		"timeout", "closed", "garbage", "other"}
)

// A Route counts what happens on one route. Its methods do not block, and are safe for
// concurrent use, except Observes.
type Route struct {
	active         prometheus.Gauge
	sessionSeconds prometheus.Observer
	sessions       family[prometheus.Counter]
	defects        prometheus.Counter
	refused        family[prometheus.Counter]
	limitsMet      family[prometheus.Counter]
	recognised     map[Product]prometheus.Counter
	held           prometheus.Observer

	commands     family[prometheus.Counter]
	replies      family[prometheus.Counter]
	ruleApplied  family[prometheus.Counter]
	ruleWould    family[prometheus.Counter]
	ruleBroken   family[prometheus.Counter]
	auth         map[exchange]prometheus.Counter
	messages     family[prometheus.Counter]
	messageBytes prometheus.Counter
	fromClient   prometheus.Counter
	fromServer   prometheus.Counter

	serverConnect prometheus.Observer
	serverAgain   prometheus.Counter
	serverReply   family[prometheus.Observer]
	serverErrors  family[prometheus.Counter]
	badReplies    family[prometheus.Counter]
	clientTLS     legTLS
	serverTLS     legTLS

	certificateReloads family[prometheus.Counter]
}

// An exchange is a kind of AUTH exchange.
type exchange struct {
	side      vocabulary.Side
	mechanism vocabulary.Mechanism
	outcome   vocabulary.AuthOutcome
}

// exchanges returns a counter for each kind of exchange.
func (m *Metrics) exchanges(route string) map[exchange]prometheus.Counter {
	all := map[exchange]prometheus.Counter{}
	for _, side := range vocabulary.Sides() {
		for _, mechanism := range vocabulary.Mechanisms() {
			for _, outcome := range vocabulary.AuthOutcomes() {
				all[exchange{side, mechanism, outcome}] = m.auth.WithLabelValues(route, string(side), string(mechanism), string(outcome))
			}
		}
	}
	return all
}

// A Product is a product that smtpshim looks for in sessions, and a sign by which it
// can be recognised.
type Product struct {
	Name string // name of the product's set of rules
	By   vocabulary.Sign
}

func (m *Metrics) products(route string, looked []Product) map[Product]prometheus.Counter {
	all := map[Product]prometheus.Counter{}
	for _, p := range looked {
		all[p] = m.recognised.WithLabelValues(route, p.Name, string(p.By))
	}
	return all
}

// A Cipher is a version of TLS and a cipher suite, as passed to Route.TLS.
type Cipher struct{ Version, Suite string }

// A legTLS counts TLS on one side.
type legTLS struct {
	sessions map[Cipher]prometheus.Counter
	other    func() prometheus.Counter
	failures family[prometheus.Counter]
}

func (m *Metrics) legTLS(route string, side vocabulary.Side, possible []Cipher) legTLS {
	labels := prometheus.Labels{"route": route, "side": string(side)}
	sessions := m.tlsSessions.MustCurryWith(labels)
	l := legTLS{
		sessions: make(map[Cipher]prometheus.Counter, len(possible)),
		other:    func() prometheus.Counter { return sessions.WithLabelValues("other", "other") },
		failures: family[prometheus.Counter]{with: m.tlsFailures.MustCurryWith(labels).WithLabelValues},
	}
	for _, c := range possible {
		l.sessions[c] = sessions.WithLabelValues(c.Version, c.Suite)
	}
	if len(possible) > 0 {
		l.failures = resolve(l.failures.with, handshakes)
	}
	return l
}

// TLS has the ciphers that are possible on each side of a route. A side on which
// smtpshim does not use TLS has none.
type TLS struct{ Client, Server []Cipher }

// Route returns the counters of the route called name. rules are the names of its rules
// in force, tls has its possible ciphers, and products are the products that it looks
// for. Each rule, cipher and product gets a counter that begins at 0. If Route is
// called again for the same name, as after a reload, the counts continue.
func (m *Metrics) Route(name string, rules []string, tls TLS, products ...Product) *Route {
	route := prometheus.Labels{"route": name}
	counters := func(v *prometheus.CounterVec, values []string) family[prometheus.Counter] {
		return resolve(v.MustCurryWith(route).WithLabelValues, values)
	}
	return &Route{
		active:         m.active.WithLabelValues(name),
		sessionSeconds: m.sessionSeconds.WithLabelValues(name),
		sessions:       counters(m.sessions, words(vocabulary.Outcomes())),
		defects:        m.defects.WithLabelValues(name),
		refused:        counters(m.refused, words(vocabulary.Rejections())),
		limitsMet:      counters(m.limitsMet, words(vocabulary.Limits())),
		recognised:     m.products(name, products),
		held:           m.held.WithLabelValues(name),

		commands:     counters(m.commands, verbs),
		replies:      counters(m.replies, classes),
		ruleApplied:  counters(m.ruleApplied, rules),
		ruleWould:    family[prometheus.Counter]{with: m.ruleWould.MustCurryWith(route).WithLabelValues},
		ruleBroken:   counters(m.ruleBroken, rules),
		auth:         m.exchanges(name),
		messages:     counters(m.messages, words(vocabulary.MessageOutcomes())),
		messageBytes: m.messageBytes.WithLabelValues(name),
		fromClient:   m.bytes.WithLabelValues(name, "from_client"),
		fromServer:   m.bytes.WithLabelValues(name, "from_server"),

		serverConnect: m.serverConnect.WithLabelValues(name),
		serverAgain:   m.serverAgain.WithLabelValues(name),
		serverReply:   resolve(m.serverReply.MustCurryWith(route).WithLabelValues, timed),
		serverErrors:  counters(m.serverErrors, words(vocabulary.ServerFailures())),
		badReplies:    counters(m.badReplies, words(vocabulary.BadReplies())),
		clientTLS:     m.legTLS(name, vocabulary.SideClient, tls.Client),
		serverTLS:     m.legTLS(name, vocabulary.SideServer, tls.Server),

		certificateReloads: counters(m.certificateReloads, []string{"ok", "error"}),
	}
}

// SessionBegan adds one to the number of sessions under way.
func (r *Route) SessionBegan() { r.active.Inc() }

// SessionEnded takes one from the number of sessions under way. It counts the session
// by its outcome, and records the time that the session lasted.
func (r *Route) SessionEnded(outcome vocabulary.Outcome, lasted time.Duration) {
	r.active.Dec()
	r.sessions.of(string(outcome)).Inc()
	r.sessionSeconds.Observe(lasted.Seconds())
}

// Defect counts a panic that ended a session or a health check of a server.
func (r *Route) Defect() { r.defects.Inc() }

// Refused counts, by reason, a client that smtpshim refused to serve.
func (r *Route) Refused(reason vocabulary.Rejection) { r.refused.of(string(reason)).Inc() }

// LimitMet counts that a client has exceeded limit in its session.
func (r *Route) LimitMet(limit vocabulary.Limit) { r.limitsMet.of(string(limit)).Inc() }

// Recognised counts that product was recognised in a session. The parameter by says by
// which sign. Pairs of product and sign that were not given to [Metrics.Route] are
// ignored.
func (r *Route) Recognised(product string, by vocabulary.Sign) {
	if c, ok := r.recognised[Product{product, by}]; ok {
		c.Inc()
	}
}

// Held records took, the time for which smtpshim worked on a session between two waits.
func (r *Route) Held(took time.Duration) { r.held.Observe(took.Seconds()) }

// Command counts a command of a client. verb must be in lower case. Any other word, "MAIL"
// included, counts as "other".
func (r *Route) Command(verb string) { r.commands.of(verb).Inc() }

// Reply counts a reply to a client by the first digit of its code.
func (r *Route) Reply(code int) {
	class := "other"
	if i := code/100 - 2; i >= 0 && i < len(classes) {
		class = classes[i]
	}
	r.replies.of(class).Inc()
}

// RuleApplied counts a change by rule, the name of a rule or safeguard. The series of a
// rule exists from the beginning, so that a rule that never acts is noticed. The series
// of a safeguard begins with its first change, because a safeguard cannot be removed.
func (r *Route) RuleApplied(rule string) {
	if vocabulary.IsSafeguard(rule) {
		r.ruleApplied.with(rule).Inc()
		return
	}
	r.ruleApplied.of(rule).Inc()
}

// Observes creates the counters for RuleWouldApply. rules are the names of the route's
// observed rules, which do not act. Observes must be called before any other method.
func (r *Route) Observes(rules []string) { r.ruleWould = resolve(r.ruleWould.with, rules) }

// RuleWouldApply counts a change that rule, the name of an observed rule, would have made.
func (r *Route) RuleWouldApply(rule string) { r.ruleWould.of(rule).Inc() }

// RuleBroken counts a failure of rule, the name of a rule: it panicked, or its result
// was not allowed.
func (r *Route) RuleBroken(rule string) { r.ruleBroken.of(rule).Inc() }

// Authenticated counts an AUTH exchange by its mechanism m and its outcome, as the
// client saw it (vocabulary.SideClient) or as the server did (vocabulary.SideServer).
// Values that package vocabulary does not list are ignored.
func (r *Route) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	if c, ok := r.auth[exchange{side, m, outcome}]; ok {
		c.Inc()
	}
}

// Message counts a message by its outcome, and adds octets, its size, to the total of
// the route.
func (r *Route) Message(outcome vocabulary.MessageOutcome, octets int64) {
	r.messages.of(string(outcome)).Inc()
	add(r.messageBytes, octets)
}

// Bytes adds n to the octets read from one side, the client or the server.
func (r *Route) Bytes(side vocabulary.Side, n int64) {
	if side == vocabulary.SideClient {
		add(r.fromClient, n)
	} else {
		add(r.fromServer, n)
	}
}

// ServerConnected records the time from dialling a server to its greeting.
func (r *Route) ServerConnected(took time.Duration) { r.serverConnect.Observe(took.Seconds()) }

// ServerAgain counts a further connection to a server, made for a session whose first
// server has greeted.
func (r *Route) ServerAgain() { r.serverAgain.Inc() }

// ServerReplied records the time that a server took to reply to a command with this
// verb, in lower case, or to a message ("end-of-data").
func (r *Route) ServerReplied(verb string, took time.Duration) {
	r.serverReply.of(verb).Observe(took.Seconds())
}

// ServerFailed counts a failure of a server by its reason.
func (r *Route) ServerFailed(reason vocabulary.ServerFailure) {
	r.serverErrors.of(string(reason)).Inc()
}

// BadReply counts that a server sent octets that are no proper reply. The parameter why
// says what is wrong with them.
func (r *Route) BadReply(why vocabulary.BadReply) { r.badReplies.of(string(why)).Inc() }

// TLS counts a successful handshake on one side by version and suite. A pair that was
// not given to [Metrics.Route] for that side is counted as "other".
func (r *Route) TLS(side vocabulary.Side, version, suite string) {
	leg := r.leg(side)
	counter, ok := leg.sessions[Cipher{version, suite}]
	if !ok {
		counter = leg.other()
	}
	counter.Inc()
}

// TLSFailed counts a failed handshake on one side by reason.
func (r *Route) TLSFailed(side vocabulary.Side, reason string) { r.leg(side).failures.of(reason).Inc() }

func (r *Route) leg(side vocabulary.Side) *legTLS {
	if side == vocabulary.SideClient {
		return &r.clientTLS
	}
	return &r.serverTLS
}

// CertificateReloaded counts an attempt to load certificate files that have changed.
// err says why the new files are not used; nil: they are used.
func (r *Route) CertificateReloaded(err error) { r.certificateReloads.of(outcome(err)).Inc() }

// add adds n to a counter. It ignores a negative n, for which Add panics.
func add(c prometheus.Counter, n int64) {
	if n > 0 {
		c.Add(float64(n))
	}
}

// words returns the values of a list as strings.
func words[T ~string](list []T) []string {
	values := make([]string, len(list))
	for i, word := range list {
		values[i] = string(word)
	}
	return values
}

// A family holds the children of one metric on one route, by the value of the remaining
// label, so that an event costs one map lookup.
type family[T any] struct {
	children map[string]T
	with     func(...string) T
}

func resolve[T any](with func(...string) T, values []string) family[T] {
	f := family[T]{make(map[string]T, len(values)), with}
	for _, value := range values {
		f.children[value] = with(value)
	}
	return f
}

// of returns the child for value. For a value outside the closed set it creates the
// series when that first occurs.
func (f family[T]) of(value string) T {
	if child, ok := f.children[value]; ok {
		return child
	}
	return f.with("other")
}

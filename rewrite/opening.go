package rewrite

// An Opening is the beginning of a client's connection, before the greeting.
type Opening struct {
	Session
	octets   []byte
	waited   bool
	wait     int64
	decision opening
}

type opening uint8

const (
	asExpected opening = iota
	withTLS
	inClear
)

// maxOpening is the longest time, in milliseconds, that a rule may make a client wait. A
// client that waits for its greeting gives up some time.
const maxOpening = 5000

// Octets returns the first octets that the client has sent, three at most. They are not
// consumed.
func (o *Opening) Octets() []byte { return o.octets }

// TLSDue reports whether the connection should begin with TLS by the configuration.
func (o *Opening) TLSDue() bool { return o.d.policy.ClientTLS == ClientTLSImplicit }

// Wait asks for a delay of up to five seconds in which the client may send its first
// octets. After it, or as soon as octets come, the rules run once more.
func (o *Opening) Wait(milliseconds int64) { o.wait = max(o.wait, min(milliseconds, maxOpening)) }

// Waited reports whether the delay has passed.
func (o *Opening) Waited() bool { return o.waited }

// BeginTLS starts a TLS handshake before the greeting, on a route that ends TLS with the
// client.
func (o *Opening) BeginTLS() { o.decision = withTLS }

// GoInClear greets the client without the TLS that is due.
func (o *Opening) GoInClear() { o.decision = inClear }

// Opens reports whether some rule looks at the client's first octets. It is false on a
// route that does not end TLS with the client.
func (d *Dialogue) Opens() bool {
	return d.policy.Rules != nil && d.policy.Rules.opens && (d.policy.ClientTLS == ClientTLSImplicit || d.endsTLS() && !d.seen.tls)
}

// Open runs the rules on a client that has not been greeted yet. It returns for how many
// milliseconds to wait for the client's first octets before Open is called again. If it
// returns 0, the session begins, with TLS if BeginsTLS reports it.
func (d *Dialogue) Open(octets []byte, waited bool) (wait int64) {
	if !d.Opens() {
		return 0
	}
	for i := range d.policy.Rules.rules {
		rule := &d.policy.Rules.rules[i]
		if rule.Open == nil || !d.acts(i) {
			continue
		}
		o := &Opening{Session: Session{d, i}, octets: octets, waited: waited}
		why := contained(rule.Open, o)
		tls := o.decision == withTLS && !o.TLSDue()
		clear := o.decision == inClear && o.TLSDue()
		if why == "" && (tls && !(d.endsTLS() && !d.seen.tls) || o.decision != asExpected && !tls && !clear) {
			why = "it began a session in a way that the route does not have"
		}
		switch {
		case why != "":
			d.broke(i, why)
		case tls, clear:
			d.seen.tls = tls
			d.listener.Applied(rule.name)
			if tls {
				d.event("client TLS")
			}
			return 0
		case len(octets) == 0 && !waited:
			wait = max(wait, o.wait)
		}
	}
	return wait
}

// BeginsTLS reports whether a TLS handshake with the client comes before the greeting.
func (d *Dialogue) BeginsTLS() bool { return d.seen.tls }

// IsTLS reports whether octets begin a TLS handshake: with its record type and SSL's
// major version (RFC 8446, 5.1).
func IsTLS(octets []byte) bool { return len(octets) >= 2 && octets[0] == 22 && octets[1] == 3 }

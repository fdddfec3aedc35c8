package rewrite

// An Opening is a rule's view of the beginning of a client's connection, before the
// client is greeted.
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

// Octets returns the first octets that the client has sent, three at most; none if it
// has sent nothing yet. They are not consumed.
func (o *Opening) Octets() []byte { return o.octets }

// TLSDue reports whether the connection begins with TLS by the configuration of the
// route (ClientTLSImplicit).
func (o *Opening) TLSDue() bool { return o.d.policy.ClientTLS == ClientTLSImplicit }

// Wait asks to run the rules once more when the client has sent octets, or after the
// given number of milliseconds, at most 5,000. The client is greeted only after that.
// Wait has no effect if the client has sent octets already, or if Waited is true.
func (o *Opening) Wait(milliseconds int64) { o.wait = max(o.wait, min(milliseconds, maxOpening)) }

// Waited reports whether the rules run for the second time, after a rule has called
// Wait: the client has sent octets since, or the time has passed. For a rule that is
// only observed it may be true at the first run.
func (o *Opening) Waited() bool { return o.waited }

// BeginTLS makes the session begin with a TLS handshake. A rule may call it if TLSDue
// is false and EndsClientTLS is true. The rules after this one are not called.
func (o *Opening) BeginTLS() { o.decision = withTLS }

// GoInClear makes the session begin with the greeting in clear, although TLS is due.
// The client is then offered STARTTLS. A rule may call GoInClear if TLSDue is true. The
// rules after this one are not called.
func (o *Opening) GoInClear() { o.decision = inClear }

// Opens reports whether any rule looks at the client's first octets. If it is true, the
// caller calls Open before the client is greeted. It is false on a route that does not
// end TLS with the client.
func (d *Dialogue) Opens() bool {
	return d.policy.Rules != nil && d.policy.Rules.opens && (d.policy.ClientTLS == ClientTLSImplicit || d.endsTLS() && !d.seen.tls)
}

// Open runs the rules on a client that has not been greeted yet. octets are the first
// octets that the client has sent, if any. waited is false in the first call. If the
// result is 0, the session begins at once. Otherwise the caller waits until the client
// has sent octets, at most for wait milliseconds, and calls Open once more, with waited
// true. Then the session begins. If BeginsTLS is true, it begins with a TLS handshake,
// and otherwise with the greeting.
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

// BeginsTLS reports, once Open has been called or Opens is false, whether a TLS
// handshake with the client comes before the greeting.
func (d *Dialogue) BeginsTLS() bool { return d.seen.tls }

// IsTLS reports whether octets begin with the record type of a TLS handshake and the
// major version of SSL and TLS (RFC 8446, 5.1).
func IsTLS(octets []byte) bool { return len(octets) >= 2 && octets[0] == 22 && octets[1] == 3 }

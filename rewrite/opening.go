package rewrite

// An Opening is the beginning of a client's connection, before its greeting,
// as the rules see it.
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

// maxOpening bounds how long a rule may keep a client waiting: a client that
// waits for its greeting gives up some time.
const maxOpening = 5000

// Octets are the first of what the client has sent, three at most. They stay
// there to be read.
func (o *Opening) Octets() []byte { return o.octets }

// TLSDue reports whether the connection is to begin with TLS.
func (o *Opening) TLSDue() bool { return o.d.policy.ClientTLS == ClientTLSImplicit }

// Wait asks for as many milliseconds, five seconds at most, in which the client
// may send something if it has not. The rules are asked again then, once.
func (o *Opening) Wait(milliseconds int64) { o.wait = max(o.wait, min(milliseconds, maxOpening)) }

// Waited reports whether that time is over.
func (o *Opening) Waited() bool { return o.waited }

// BeginTLS has a handshake come before the greeting, where we end TLS with the
// client.
func (o *Opening) BeginTLS() { o.decision = withTLS }

// GoInClear has the greeting come without the TLS that is due.
func (o *Opening) GoInClear() { o.decision = inClear }

// Opens reports whether any rule wants to look at the client's first octets, which
// matters where we end TLS with the client.
func (d *Dialogue) Opens() bool {
	return d.policy.Rules != nil && d.policy.Rules.opens && (d.policy.ClientTLS == ClientTLSImplicit || d.endsTLS() && !d.seen.tls)
}

// Open asks the rules about a client that was not greeted yet, and returns for
// how many milliseconds to wait for its first octets before asking again. 0: the
// session begins, with TLS if BeginsTLS says so.
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

// BeginsTLS reports whether the client's connection begins with TLS, or goes on
// with TLS before its greeting.
func (d *Dialogue) BeginsTLS() bool { return d.seen.tls }

// IsTLS reports whether octets begin a TLS handshake: the type of its record,
// and SSL's major version (RFC 8446, 5.1).
func IsTLS(octets []byte) bool { return len(octets) >= 2 && octets[0] == 22 && octets[1] == 3 }

package rewrite

import "net/netip"

// A Session is a rule's view of the session, at every stage. It is valid until the rule's
// function returns.
type Session struct {
	d    *Dialogue
	rule int // the index of the running rule
}

// Client returns the client's address; the zero Addr if it is not known.
func (s Session) Client() netip.Addr { return s.d.client }

// Hostname returns our host name, which we use in replies of our own.
func (s Session) Hostname() string { return s.d.policy.Hostname }

// Hello returns the line of the last hello that was sent to the server; "" if there was
// none.
func (s Session) Hello() string { return s.d.hello }

// Server returns the extensions in the server's last reply to EHLO or LHLO, as the
// rules' Offer functions have left them. They are empty before that reply and after
// HELO.
func (s Session) Server() Extensions { return Extensions{s.d.server.unpacked(), true} }

// Shown returns the extensions in the last reply to EHLO or LHLO that the client got.
// If the client has got none, Shown returns those of Server.
func (s Session) Shown() Extensions {
	if s.d.seen.shown == nil {
		return s.Server()
	}
	return Extensions{s.d.seen.shown, true}
}

// ClientTLS reports whether the connection to the client is encrypted and we end its TLS.
func (s Session) ClientTLS() bool { return s.d.seen.tls }

// ServerTLS reports whether we have encrypted the connection to the server.
func (s Session) ServerTLS() bool { return s.d.server.tls }

// EndsClientTLS reports whether the client is in clear and may begin TLS with us by
// STARTTLS.
func (s Session) EndsClientTLS() bool { return s.d.endsTLS() && !s.d.seen.tls }

// HelloOwed reports whether the client has begun TLS by STARTTLS, and no hello of it
// was accepted since.
func (s Session) HelloOwed() bool { return s.d.seen.helloOwed }

// Introduced reports whether a hello of the client was accepted.
func (s Session) Introduced() bool { return s.d.seen.hello != VerbOther }

// Authenticated reports whether the client has logged in.
func (s Session) Authenticated() bool { return s.d.seen.authenticated }

// Transaction reports whether a transaction is open: a MAIL was accepted, and no
// message, RSET or hello has ended the transaction since.
func (s Session) Transaction() bool { return s.d.seen.transaction }

// Recipients counts the RCPT commands of the present transaction by their replies. It
// does not count commands that have no reply yet.
type Recipients struct {
	Taken    int // accepted
	Refused  int // refused, with 4xx or 5xx
	Deferred int // those of Refused with 4xx
}

// AllRefused reports whether at least one recipient was refused and none accepted.
func (r Recipients) AllRefused() bool { return r.Taken == 0 && r.Refused > 0 }

// Recipients returns how many recipients of the open transaction were accepted and
// refused so far. The counts are zero while no transaction is open.
func (s Session) Recipients() Recipients {
	if !s.d.seen.transaction {
		return Recipients{}
	}
	return Recipients{int(s.d.seen.recipients), int(s.d.seen.refused), int(s.d.seen.deferred)}
}

// Untouched reports whether the session has done nothing that would be harmful to do
// twice: no AUTH and no MAIL was accepted.
func (s Session) Untouched() bool {
	return !s.d.seen.authenticated && s.d.seen.mails == 0 && s.d.seen.messages == 0
}

// State returns the value that Actions.State has made for this rule in this session.
// The first call of State calls Actions.State. The result is nil if Actions.State is
// nil.
func (s Session) State() any {
	rules, place := s.d.policy.Rules.rules, s.rule
	if rules[place].State == nil {
		return nil
	}
	for place > 0 && rules[place-1].name == rules[place].name { // a variant of the same rule shares its state
		place--
	}
	for _, kept := range s.d.states {
		if kept.rule == place {
			return kept.state
		}
	}
	state := rules[place].State()
	if s.d.states == nil {
		s.d.states = make([]ruleState, 0, usualStates)
	}
	s.d.states = append(s.d.states, ruleState{place, state})
	return state
}

// usualStates is how many rules of the set standard have a state in most sessions.
const usualStates = 4

// A Memory stores what sessions learn about one server, for later sessions.
type Memory interface {
	// Remember stores a key for a number of seconds.
	Remember(key string, seconds int)
	// Remembers reports whether the key is stored.
	Remembers(key string) bool
}

// Remember stores key about this server. Until the given number of seconds has passed,
// Session.Remembers returns true for key, in this session and in later ones. A memory
// that is full does not store key. The rule chooses what key means, for example that
// EHLO ends the connection. Each rule has its own keys.
func (s Session) Remember(key string, seconds int) {
	if m := s.d.memory; m != nil {
		m.Remember(s.key(key), seconds)
	}
}

// Remembers reports whether key is stored about this server: this session or an earlier
// one has passed it to Remember, and the time has not passed.
func (s Session) Remembers(key string) bool {
	return s.d.memory != nil && s.d.memory.Remembers(s.key(key))
}

func (s Session) key(key string) string { return s.d.policy.Rules.rules[s.rule].name + " " + key }

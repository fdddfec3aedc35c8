package rewrite

import "net/netip"

// A Session is what a rule sees of the session at every stage. It is good until
// the rule's function returns.
type Session struct {
	d    *Dialogue
	rule int // the one that is running, by its place
}

// Client is the client's address. It is invalid where none is known.
func (s Session) Client() netip.Addr { return s.d.client }

// Hostname is our own name, as replies of our own give it.
func (s Session) Hostname() string { return s.d.policy.Hostname }

// Hello is the last EHLO or HELO as the server got it; "" if there was none.
func (s Session) Hello() string { return string(s.d.hello) }

// Server is what the server's last EHLO reply offers, as the rules' Offer
// functions have left it. It is empty after HELO and before the reply.
func (s Session) Server() Extensions { return Extensions{s.d.server.unpacked(), true} }

// Shown is what the client was offered by the last EHLO reply that it got.
func (s Session) Shown() Extensions {
	if s.d.seen.shown == nil {
		return s.Server()
	}
	return Extensions{s.d.seen.shown, true}
}

// ClientTLS and ServerTLS report whether the connection to that side is encrypted.
func (s Session) ClientTLS() bool { return s.d.seen.tls }

// ServerTLS reports whether the connection to the server is encrypted.
func (s Session) ServerTLS() bool { return s.d.server.tls }

// EndsClientTLS reports whether we offer the client STARTTLS of our own, and the
// client is in clear.
func (s Session) EndsClientTLS() bool { return s.d.endsTLS() && !s.d.seen.tls }

// HelloOwed reports whether the client has begun TLS and not said EHLO since.
func (s Session) HelloOwed() bool { return s.d.seen.helloOwed }

// Introduced reports whether an EHLO or HELO of the client's was accepted.
func (s Session) Introduced() bool { return s.d.seen.hello != VerbOther }

// Authenticated reports whether the client has logged in.
func (s Session) Authenticated() bool { return s.d.seen.authenticated }

// Transaction reports whether MAIL was accepted and its transaction is open.
func (s Session) Transaction() bool { return s.d.seen.transaction }

// Recipients counts the RCPT commands of the present transaction by their replies.
type Recipients struct {
	Taken    int // not refused, or not answered yet
	Refused  int // all that were refused
	Deferred int // of those, the ones that got 4xx
}

// AllRefused reports whether there were recipients, and each was refused.
func (r Recipients) AllRefused() bool { return r.Taken == 0 && r.Refused > 0 }

// Recipients returns the count so far. It is zero while no transaction is open.
func (s Session) Recipients() Recipients {
	if !s.d.seen.transaction {
		return Recipients{}
	}
	return Recipients{int(s.d.seen.recipients), int(s.d.seen.refused), int(s.d.seen.deferred)}
}

// Untouched reports whether nothing was done in this session that could be done
// twice: no AUTH and no MAIL was accepted.
func (s Session) Untouched() bool {
	return !s.d.seen.authenticated && s.d.seen.mails == 0 && s.d.seen.messages == 0
}

// State returns the rule's own memory for this session, which Actions.State
// made. It is nil if that is.
func (s Session) State() any {
	rules, place := s.d.policy.Rules.rules, s.rule
	if rules[place].State == nil {
		return nil
	}
	for place > 0 && rules[place-1].name == rules[place].name { // with other options it is the same rule
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

// usualStates is how many rules of the set standard keep a state in most sessions.
const usualStates = 4

// A Memory keeps what was learned of one server from one session to the next.
type Memory interface {
	// Remember keeps a key for so many seconds.
	Remember(key string, seconds int)
	// Remembers reports whether the key is kept.
	Remembers(key string) bool
}

// Remember keeps something about this server for later sessions, for so many
// seconds: that EHLO ends the connection, say. The key is the rule's own.
func (s Session) Remember(key string, seconds int) {
	if m := s.d.memory; m != nil {
		m.Remember(s.key(key), seconds)
	}
}

// Remembers reports whether this session or an earlier one has called Remember,
// and the time is not over.
func (s Session) Remembers(key string) bool {
	return s.d.memory != nil && s.d.memory.Remembers(s.key(key))
}

func (s Session) key(key string) string { return s.d.policy.Rules.rules[s.rule].name + " " + key }

package proxy

import (
	"net/netip"
	"time"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// An Observer hears what happens on one route; it decides nothing. Its methods
// are called from many goroutines at once, on the path of the mail, and must
// return without waiting. All strings come from closed sets: no argument ever
// holds what a peer said.
type Observer interface {
	// SessionBegan and SessionEnded come in pairs.
	SessionBegan()
	SessionEnded(outcome vocabulary.Outcome, lasted time.Duration)
	// Defect is one panic that cost a session, or a check of a server.
	Defect()
	// Recognised is one product that a session had at one of its ends, by the name of
	// its set. It comes at the session's end.
	Recognised(product string, by vocabulary.Sign)
	// LimitMet is one limit that a client met in its session.
	LimitMet(limit vocabulary.Limit)
	// Refused is a connection that got no session: "sessions",
	// "sessions-per-address", "sessions-per-minute", "proxy-header", "draining", "destination",
	// "clients". A client that begins with a PROXY header and may not ("proxy-header") had one,
	// and so has one whom XCLIENT names where there is no room, or none for it.
	Refused(reason vocabulary.Rejection)

	// Command is one command of the client's, by verb in lower case or "other".
	Command(verb string)
	// Reply is one reply that the client got.
	Reply(code int)
	// RuleApplied is one departure that was delivered.
	RuleApplied(rule string)
	// RuleBroken is one line that a rule made and that was no line.
	RuleBroken(rule string)
	// Message is one message at its end.
	Message(outcome vocabulary.MessageOutcome, octets int64)
	// Bytes are octets read from one side. Called at a session's end and after
	// each message.
	Bytes(side vocabulary.Side, n int64)

	// ServerConnected is the time from dialling to the server's greeting.
	ServerConnected(took time.Duration)
	// ServerAgain is one more connection of a session that has had one to a server.
	ServerAgain()
	// ServerReplied is the time from a command to its reply, by verb; "end-of-data"
	// is the answer to a message.
	ServerReplied(verb string, took time.Duration)
	// ServerFailed is one failure of a server.
	ServerFailed(reason vocabulary.ServerFailure)
	// BadReply is one thing that a server said and that could not be followed.
	BadReply(why vocabulary.BadReply)
	// Held is for how long the proxy had something to do between two waits: the
	// time that it adds, but for what the kernel takes to send a command on. One
	// wait in so many is told of.
	Held(took time.Duration)
	// TLS is one handshake that ended well, with version and suite as
	// tlspolicy.Versions and tlspolicy.Suites have them.
	TLS(side vocabulary.Side, version, suite string)
	// TLSFailed is one that did not, for a reason of tlspolicy.Reasons.
	TLSFailed(side vocabulary.Side, reason string)
	// Authenticated is the end of one AUTH exchange on one side: of the client's with
	// whoever answers it, or of whoever logs in at the server.
	Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome)
}

// A WouldObserver is an Observer that also hears what observed rules would do.
type WouldObserver interface {
	Observer
	// RuleWouldApply is one departure that a rule of Route.Observed would have made.
	RuleWouldApply(rule string)
}

// A DialogueListener hears one session's dialogue. Its methods are called one
// after the other, on the path of the mail, and must return without waiting.
type DialogueListener interface {
	// Line is a line of the dialogue, with the rule's name where it was changed,
	// or an event. SASL lines, credentials and message text have been taken out
	// before; whatever else a peer may say can be in it, control characters too.
	Line(l transcript.Line)
	// End is the last call.
	End(e Ending)
}

// A Beginning is what is known of a session when it begins.
type Beginning struct {
	Session string // its name in the log
	Route   string
	Client  netip.Addr // invalid if it is not known
	At      time.Time
}

// An Ending is what is told of a session at its end. Hello and Err may hold
// what a peer said.
type Ending struct {
	Outcome              vocabulary.Outcome
	Server               string         // of Route.Servers; "" if none has greeted
	Hello                string         // the last EHLO or HELO that the server got
	Messages             int            // accepted
	Octets               int64          // of messages
	Rules                map[string]int // how often each rule acted
	Would                Would          // what observed rules would have done; nil: nothing
	ClientTLS, ServerTLS string         // versions; "" in clear
	// ClientAuth is by what the client has logged in, ServerAuth by what somebody has at
	// the server; "": nobody has.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Products               []rewrite.Product // that were recognised

	Refused Refusal // that decided the outcome, or is of a recipient whose message went to others
	While   string  // what was being done; "": the session came to its own end, and something was refused before
	Err     string  // what went wrong; "" if nothing did
	Lasted  time.Duration
}

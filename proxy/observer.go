package proxy

import (
	"net/netip"
	"time"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// An Observer is told what happens on one route. It decides nothing. Many goroutines call
// its methods at the same time, and mail waits for the calls, so the methods must not
// block. All strings come from closed sets: no argument ever holds what a peer said.
type Observer interface {
	// SessionBegan reports that a session begins, and SessionEnded that it has ended.
	// Each SessionBegan is followed by one SessionEnded.
	SessionBegan()
	SessionEnded(outcome vocabulary.Outcome, lasted time.Duration)
	// Defect reports a panic that ended a session or a health check.
	Defect()
	// Recognised reports a product that was recognised as the client or the server of a
	// session. product is the name of its set of rules, and by is what the product was
	// recognised by. Recognised is called at the session's end.
	Recognised(product string, by vocabulary.Sign)
	// LimitMet reports a limit that a client has exceeded in its session.
	LimitMet(limit vocabulary.Limit)
	// Refused reports a connection that got no session, and why. Two clients did get a
	// session before they were refused: one that begins with a PROXY header of version
	// 2 and is not in Route.ProxyFrom ("proxy-header"), and one that was named by
	// XCLIENT and is not served ("clients") or exceeds a limit of sessions.
	Refused(reason vocabulary.Rejection)

	// Command reports a command of the client, by its verb in lower case, or "other".
	Command(verb string)
	// Reply reports a reply that the client got.
	Reply(code int)
	// RuleApplied reports that a change made by a rule was delivered.
	RuleApplied(rule string)
	// RuleBroken reports that a rule panicked, or that its result was not allowed and was
	// discarded.
	RuleBroken(rule string)
	// Message reports the outcome of a message, and its size.
	Message(outcome vocabulary.MessageOutcome, octets int64)
	// Bytes reports n more octets read from one side. It is called after each message and
	// at the session's end.
	Bytes(side vocabulary.Side, n int64)

	// ServerConnected reports the time from dialling a server to its greeting.
	ServerConnected(took time.Duration)
	// ServerAgain reports that a session that has been connected to its server connects to
	// it once more.
	ServerAgain()
	// ServerReplied reports the time from a command to its reply, by the verb of the
	// command. The verb is "end-of-data" for the reply to a message.
	ServerReplied(verb string, took time.Duration)
	// ServerFailed reports a failure of a server.
	ServerFailed(reason vocabulary.ServerFailure)
	// BadReply reports a reply of a server that is malformed or violates the protocol.
	BadReply(why vocabulary.BadReply)
	// Held reports for how long the proxy worked between two waits. That is the time that
	// the proxy adds to a session, apart from the time that the kernel takes to send.
	// Only a sample of the waits is reported.
	Held(took time.Duration)
	// TLS reports a successful handshake. version is one of tlspolicy.Versions, suite is
	// one of tlspolicy.Suites.
	TLS(side vocabulary.Side, version, suite string)
	// TLSFailed reports a handshake that failed. reason is one of tlspolicy.Reasons.
	TLSFailed(side vocabulary.Side, reason string)
	// Authenticated reports the outcome of an AUTH exchange by the mechanism m. If side
	// is vocabulary.SideClient, it is an exchange of the client, with the server or
	// with us. If side is vocabulary.SideServer, it is an exchange with the server, by
	// the client or by us.
	Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome)
}

// A WouldObserver is an Observer that is also told what observed rules would do.
type WouldObserver interface {
	Observer
	// RuleWouldApply reports a change that a rule of Route.Observed would have made.
	RuleWouldApply(rule string)
}

// A DialogueListener is told the dialogue of one session. Its methods are called one
// after the other. Mail waits for the calls, so the methods must not block.
type DialogueListener interface {
	// Line reports a line of the dialogue, or an event. The line has the name of the rule
	// that changed it, if one did. It never contains SASL lines, credentials or message
	// text. Apart from that it may contain anything that a peer can say, such as control
	// characters.
	Line(l transcript.Line)
	// End reports the end of the session. It is the last call.
	End(e Ending)
}

// A Beginning tells [Route].Dialogue and [Route].Ended which session it is.
type Beginning struct {
	Session string // the session's name in the log
	Route   string
	// Client is the client's address, which may be that of a PROXY header. For Ended it is
	// the address that the last XCLIENT named, if there was one. It is invalid if the
	// address is not known.
	Client netip.Addr
	At     time.Time
}

// An Ending is what is known of a session at its end. Hello, Refused.Text and Err may hold
// what a peer said.
type Ending struct {
	Outcome              vocabulary.Outcome
	Server               string         // the server as in Route.Servers; "": none has greeted
	Hello                string         // the last EHLO or HELO that the server got
	Messages             int            // how many messages were accepted
	Octets               int64          // the size of all messages, accepted or not
	Rules                map[string]int // how often each rule acted
	Would                Would          // what observed rules would have done; nil: nothing
	ClientTLS, ServerTLS string         // the TLS versions; "": in clear
	// ClientAuth is the mechanism by which the client has logged in. ServerAuth is the
	// mechanism by which the client, or we, have logged in at the server. "": there was no
	// login.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Products               []rewrite.Product // the products that were recognised

	// If Outcome.Failed is true, Refused is the last refusal after which the client did
	// not succeed. If there is none, or the session did not fail, Refused is the
	// refusal of a recipient whose message other recipients got, if there is one.
	Refused Refusal
	// While is what the session was doing at the end, such as "waiting for a command".
	// It is "" if Outcome is OutcomeRefused and the client ended the session in an
	// orderly way.
	While  string
	Err    string // what went wrong; "": nothing
	Lasted time.Duration
}

package proxy

import (
	"net/netip"
	"time"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// An Observer is told what happens on one route. It decides nothing. Many goroutines
// call its methods at the same time, and mail waits for the calls, so the methods must
// not block. All strings come from closed sets: no argument ever holds what a peer
// said.
type Observer interface {
	// SessionBegan reports that a session begins. SessionEnded reports that it has
	// ended, how, and after what time. Each SessionBegan is followed by one
	// SessionEnded.
	SessionBegan()
	SessionEnded(outcome vocabulary.Outcome, lasted time.Duration)
	// Defect reports a panic of smtpshim that ended a session or one health check.
	Defect()
	// Recognised reports a product that was recognised as the client or the server of a
	// session. product is the name of the product's set of rules, and by is the sign
	// that showed it. Recognised is called at the session's end, once for each product.
	Recognised(product string, by vocabulary.Sign)
	// LimitMet reports a limit that a client has exceeded in its session.
	LimitMet(limit vocabulary.Limit)
	// Refused reports a client that we refuse, and why. Most clients are refused before
	// their session begins. In two cases the session has begun, and SessionEnded
	// follows:
	//
	//   - The client begins with a PROXY header of version 2 that we do not accept.
	//   - XCLIENT names a client that is not in Route.Clients, or that has too many
	//     sessions, at once or in a minute.
	Refused(reason vocabulary.Rejection)

	// Command reports a command of the client, by its verb in lower case, or "other".
	Command(verb string)
	// Reply reports a reply that a client got in a session.
	Reply(code int)
	// RuleApplied reports that a change made by a rule was delivered. rule is the name
	// of the rule, or of a vocabulary.Safeguard, which counts like a rule.
	RuleApplied(rule string)
	// RuleBroken reports that a rule panicked, or that its result was not allowed and was
	// discarded.
	RuleBroken(rule string)
	// Message reports the outcome of a message that a client has sent or begun to send.
	// octets is how much of it came, including the final dot of DATA.
	Message(outcome vocabulary.MessageOutcome, octets int64)
	// Bytes reports n more octets read from one side of a session, after decryption. It
	// is called for each side after each message and at the session's end.
	Bytes(side vocabulary.Side, n int64)

	// ServerConnected reports that a session has got its server. took is the time from
	// dialling that server to its greeting. If the client and the server begin with TLS
	// between them, there is no greeting; took is then the time until we have found
	// that out.
	ServerConnected(took time.Duration)
	// ServerAgain reports that a session has made one more connection to the server
	// that it already had. ServerConnected follows.
	ServerAgain()
	// ServerReplied reports the time from sending the server a command to its reply, by
	// the verb of the command in lower case. The verb is "end-of-data" for the reply to
	// a message.
	ServerReplied(verb string, took time.Duration)
	// ServerFailed reports that a session could not connect to a server, or that a
	// server did not greet, hung up, was silent for too long, failed in TLS or broke
	// the protocol. reason says which. Not reported are health checks, what happens in a
	// session that passes octets unread, and failures while the proxy closes everything.
	ServerFailed(reason vocabulary.ServerFailure)
	// BadReply reports a reply of a server that is malformed or violates the protocol,
	// even if a rule repairs it.
	BadReply(why vocabulary.BadReply)
	// Held reports for how long a session worked from the end of one wait to the
	// beginning of the next. That is the time that the proxy adds. Only a sample of the
	// waits is reported.
	Held(took time.Duration)
	// TLS reports a successful handshake. version is one of tlspolicy.Versions, suite is
	// one of tlspolicy.Suites.
	TLS(side vocabulary.Side, version, suite string)
	// TLSFailed reports a handshake that failed. reason is one of tlspolicy.Reasons.
	// TLSFailed is not called if a client hangs up before it sends anything, nor if we
	// try the handshake again without ML-KEM.
	TLSFailed(side vocabulary.Side, reason string)
	// Authenticated reports the outcome of an AUTH exchange by the mechanism m. If side
	// is vocabulary.SideClient, it is the outcome that the client was told, by the
	// server or by us. If side is vocabulary.SideServer, it is the outcome at the
	// server, of the client's login or of ours. An exchange between client and server
	// is reported for both sides.
	Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome)
}

// A WouldObserver is an Observer that is also told what the rules of Route.Observed
// would do.
type WouldObserver interface {
	Observer
	// RuleWouldApply reports a change that a rule of Route.Observed would have made.
	RuleWouldApply(rule string)
}

// A DialogueListener is told the dialogue of one session. Its methods are called one
// after the other. Mail waits for the calls, so the methods must not block.
type DialogueListener interface {
	// Line reports l, a line of the dialogue or an event. l.Text never contains SASL
	// lines, credentials or message text. Otherwise it may contain anything that a peer
	// can say, such as control characters.
	Line(l transcript.Line)
	// End reports the end of the session, and what is known of the session then. It is
	// the last call.
	End(e Ending)
}

// A Beginning identifies a session to [Route].Dialogue and [Route].Ended.
type Beginning struct {
	Session string // the session's name in the log
	Route   string
	// Client is the client's address: the one in its PROXY header if there is one,
	// otherwise that of its connection. For Ended it is the address that the last
	// XCLIENT named, if the client sent XCLIENT. It is invalid if the address is not
	// known, as for a client of a Unix domain socket.
	Client netip.Addr
	At     time.Time // when the session began
}

// An Ending is what is known of a session at its end. Hello and Err, and the texts in
// Would and Refused, may hold what a peer said.
type Ending struct {
	Outcome vocabulary.Outcome
	// Server is the session's server, as in Route.Servers, or the client's original
	// destination. It is "" if the session got no server, because none greeted.
	Server   string
	Hello    string // the last EHLO, HELO or LHLO line that the server got
	Messages int    // how many messages were accepted
	Octets   int64  // the size of all messages, accepted or not
	// Rules is how often each rule acted, by its name. A vocabulary.Safeguard counts
	// like a rule.
	Rules map[string]int
	Would Would // what the rules of Route.Observed would have done; nil: nothing
	// ClientTLS is the version of the TLS between the client and us. ServerTLS is that
	// of the TLS between us and the server. Each is "" if there was none. Both are ""
	// if the client had TLS with the server through us.
	ClientTLS, ServerTLS string
	// ClientAuth is the mechanism by which the client has logged in. ServerAuth is the
	// mechanism by which the client, or we, have logged in at the server. "": there was no
	// login.
	ClientAuth, ServerAuth vocabulary.Mechanism
	Products               []rewrite.Product // recognised as client or server

	// Refused is the refusal to report at the end. If Outcome.Failed is true, it is the
	// last refusal that the client did not get past. If there is none, or if the
	// session did not fail, it is the refusal of a recipient of a message that other
	// recipients got. If there is none of those either, Refused is zero.
	Refused Refusal
	// While is what the session was doing at the end, such as "waiting for a command".
	// It is "" if Outcome is OutcomeRefused and the client ended the session in an
	// orderly way.
	While string
	// Err is the first thing that went wrong, even if the session went on and
	// succeeded, as after a server that did not greet. "": nothing did.
	Err    string
	Lasted time.Duration
}

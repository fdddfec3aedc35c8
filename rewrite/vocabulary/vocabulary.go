// Package vocabulary defines the words with which the program reports what happened, in
// the log, in metrics, on the status page and in recordings.
//
// Each kind of word is a type with a closed list of values. A value is the word itself,
// as in logs and metric labels. None of them is text from a peer.
package vocabulary

import "slices"

// An Outcome says how a session ended.
type Outcome string

// The outcomes of sessions.
const (
	OutcomeOK                Outcome = "ok"
	OutcomeSilent            Outcome = "silent"  // the client sent nothing and hung up, as health checks do
	OutcomeDrained           Outcome = "drained" // an idle client got 421 at a shutdown
	OutcomeOpaque            Outcome = "opaque"  // it ended while smtpshim could not read it, as inside TLS that is passed on
	OutcomeRefused           Outcome = "refused" // mail was refused, and not accepted later in the session
	OutcomeMessageRefused    Outcome = "message-refused"
	OutcomeClientLost        Outcome = "client-lost"
	OutcomeClientTimeout     Outcome = "client-timeout"
	OutcomeClientProtocol    Outcome = "client-protocol"
	OutcomeServerUnreachable Outcome = "server-unreachable"
	OutcomeServerLost        Outcome = "server-lost"
	OutcomeServerTimeout     Outcome = "server-timeout"
	OutcomeServerProtocol    Outcome = "server-protocol"
	// OutcomeTLS means that the TLS handshake with the client failed, or that TLS with
	// the server is required and was not to be had.
	OutcomeTLS Outcome = "tls"
	// OutcomeXCLIENT means that the route sends XCLIENT, and the server does not offer
	// it or refused it.
	OutcomeXCLIENT Outcome = "xclient"
	// OutcomeUnknown means that no valid reply came to a message after its final dot.
	// The server may have the message.
	OutcomeUnknown Outcome = "unknown"
	OutcomeCutOff  Outcome = "cut-off" // smtpshim ended it: drain took too long
	OutcomeDefect  Outcome = "defect"  // a panic of smtpshim ended it
)

// Outcomes returns every Outcome.
func Outcomes() []Outcome {
	return []Outcome{OutcomeOK, OutcomeSilent, OutcomeDrained, OutcomeOpaque, OutcomeRefused, OutcomeMessageRefused,
		OutcomeClientLost, OutcomeClientTimeout, OutcomeClientProtocol, OutcomeServerUnreachable, OutcomeServerLost,
		OutcomeServerTimeout, OutcomeServerProtocol, OutcomeTLS, OutcomeXCLIENT, OutcomeUnknown, OutcomeCutOff, OutcomeDefect}
}

// Means returns a text for people that says what o means; "" if there is no such outcome.
func (o Outcome) Means() string { return meanings[o] }

var meanings = map[Outcome]string{
	OutcomeOK:                "the session ended as it should",
	OutcomeSilent:            "the client sent nothing and hung up, as health checks do",
	OutcomeDrained:           "an idle client got 421, because smtpshim stops",
	OutcomeOpaque:            "the session became unreadable (STARTTLS that passes, TLS from the first octet, a sealed stream), and ended so",
	OutcomeRefused:           "mail was refused, and not accepted later in the session",
	OutcomeMessageRefused:    "we refused a message by `stray_bytes`, `long_lines` or `limits.message_size`, which cost the connection to the server",
	OutcomeClientLost:        "the client hung up",
	OutcomeClientTimeout:     "the client was silent for too long",
	OutcomeClientProtocol:    "the client broke the protocol or met a limit, and got a last reply",
	OutcomeServerUnreachable: "no server greeted",
	OutcomeServerLost:        "the server hung up",
	OutcomeServerTimeout:     "the server was silent for too long",
	OutcomeServerProtocol:    "the server sent something that breaks the protocol",
	OutcomeTLS:               "a TLS handshake with the client failed, or TLS with the server is required and was not available",
	OutcomeXCLIENT:           "XCLIENT is required, and was not available",
	OutcomeUnknown:           "no valid reply came after the final dot: the server may have the message",
	OutcomeCutOff:            "we closed the session, because draining took too long",
	OutcomeDefect:            "smtpshim itself failed, and contained it: the log line with the stack is for a bug report",
}

// Failed reports whether a session with the outcome o has failed. That is so for every
// outcome except OutcomeOK, OutcomeSilent, OutcomeDrained and OutcomeOpaque.
func (o Outcome) Failed() bool {
	switch o {
	case OutcomeOK, OutcomeSilent, OutcomeDrained, OutcomeOpaque:
		return false
	}
	return true
}

// AnyFailed is the name that chooses every failed outcome, for [Outcome.Named].
const AnyFailed = "failed"

// OutcomeNames returns the names that [Outcome.Named] knows: AnyFailed and every Outcome.
func OutcomeNames() []string {
	names := []string{AnyFailed}
	for _, o := range Outcomes() {
		names = append(names, string(o))
	}
	return names
}

// Named reports whether name chooses o. "" chooses every outcome, AnyFailed chooses the
// failed ones, and any other name chooses the outcome of that name.
func (o Outcome) Named(name string) bool {
	return name == "" || name == string(o) || name == AnyFailed && o.Failed()
}

// A Rejection says why smtpshim refused to serve a client.
type Rejection string

// The reasons for which smtpshim refuses to serve clients.
const (
	RejectionSessions           Rejection = "sessions" // the route has as many sessions as it may have
	RejectionSessionsPerAddress Rejection = "sessions-per-address"
	RejectionSessionsPerMinute  Rejection = "sessions-per-minute"
	RejectionPROXYHeader        Rejection = "proxy-header"
	RejectionDraining           Rejection = "draining"
	RejectionDestination        Rejection = "destination"
	RejectionClients            Rejection = "clients" // the route does not serve clients at that address
)

// Rejections returns every Rejection.
func Rejections() []Rejection {
	return []Rejection{RejectionSessions, RejectionSessionsPerAddress, RejectionSessionsPerMinute, RejectionPROXYHeader,
		RejectionDraining, RejectionDestination, RejectionClients}
}

// A Limit is a limit that a client can exceed in its session.
type Limit string

// The limits that a client can exceed in its session.
const (
	LimitCommandLine  Limit = "command-line"
	LimitSASLLine     Limit = "sasl-line"
	LimitErrors       Limit = "errors"
	LimitIdleCommands Limit = "idle-commands"
	LimitRecipients   Limit = "recipients"
	LimitMessages     Limit = "messages"
	LimitMessageSize  Limit = "message-size"
	LimitMessageRate  Limit = "message-rate"
)

// Limits returns every Limit.
func Limits() []Limit {
	return []Limit{LimitCommandLine, LimitSASLLine, LimitErrors, LimitIdleCommands, LimitRecipients, LimitMessages,
		LimitMessageSize, LimitMessageRate}
}

// A Safeguard is a change that the proxy makes without any rule, because a session must
// not be less safe than without a proxy. It is counted under its name, like the change
// of a rule.
type Safeguard string

// The safeguards. Each withholds from the client something that the server offers, and
// refuses commands that use it.
const (
	// SafeguardExternal withholds the mechanism EXTERNAL if smtpshim terminates TLS
	// with the client or the server.
	SafeguardExternal Safeguard = "external"
	// SafeguardChannelBinding withholds mechanisms that end with -PLUS if smtpshim
	// terminates TLS with the client or the server.
	SafeguardChannelBinding Safeguard = "channel-binding"
	// SafeguardAuthInClear withholds mechanisms that the server offers only inside TLS,
	// if the client is in clear and the route does not allow such logins.
	SafeguardAuthInClear Safeguard = "auth-in-clear"
	// SafeguardRequireTLS withholds REQUIRETLS unless TLS is used on both sides and the
	// server's certificate is verified.
	SafeguardRequireTLS Safeguard = "requiretls"
)

// Safeguards returns every Safeguard.
func Safeguards() []Safeguard {
	return []Safeguard{SafeguardExternal, SafeguardChannelBinding, SafeguardAuthInClear, SafeguardRequireTLS}
}

// IsSafeguard reports whether name is that of a Safeguard, and not of a rule.
func IsSafeguard(name string) bool { return slices.Contains(Safeguards(), Safeguard(name)) }

// A Cause says why smtpshim changed a line that no rule and no [Safeguard] changed. It
// is a key of the configuration, or a word for the reason. The page and recordings name
// it in place of the rule.
type Cause string

// The causes of such changes.
const (
	CauseClientTLS       Cause = "client_tls"
	CauseServerTLS       Cause = "server_tls"
	CauseXCLIENT         Cause = "xclient"
	CauseLogin           Cause = "login"            // logins end at smtpshim, which has its own
	CauseFreshConnection Cause = "fresh-connection" // the last message cost the connection
	CauseNotCarried      Cause = "not-carried"      // the proxy cannot carry it safely
	CauseMessageSize     Cause = "message_size"
	CauseLimits          Cause = "limits"
)

// Causes returns every Cause.
func Causes() []Cause {
	return []Cause{CauseClientTLS, CauseServerTLS, CauseXCLIENT, CauseLogin, CauseFreshConnection, CauseNotCarried,
		CauseMessageSize, CauseLimits}
}

// A MessageOutcome says what became of a message.
type MessageOutcome string

// The outcomes of messages.
const (
	MessageAccepted MessageOutcome = "accepted"
	MessageRefused  MessageOutcome = "refused"
	MessageUnknown  MessageOutcome = "unknown" // after the final dot, no valid reply came
	MessageCut      MessageOutcome = "cut"     // a connection ended before the final dot
)

// MessageOutcomes returns every MessageOutcome.
func MessageOutcomes() []MessageOutcome {
	return []MessageOutcome{MessageAccepted, MessageRefused, MessageUnknown, MessageCut}
}

// A ServerFailure says in what way a server has failed in a session.
type ServerFailure string

// The ways in which servers fail.
const (
	ServerConnect  ServerFailure = "connect"  // connecting to it failed
	ServerGreeting ServerFailure = "greeting" // no valid greeting came in time
	ServerTimeout  ServerFailure = "timeout"
	ServerLost     ServerFailure = "lost"
	ServerTLS      ServerFailure = "tls"
	ServerProtocol ServerFailure = "protocol"
)

// ServerFailures returns every ServerFailure.
func ServerFailures() []ServerFailure {
	return []ServerFailure{ServerConnect, ServerGreeting, ServerTimeout, ServerLost, ServerTLS, ServerProtocol}
}

// A BadReply says what is wrong with octets that a server sent and that are no proper
// reply.
type BadReply string

// The faults of replies.
const (
	BadReplyGarbage        BadReply = "garbage"
	BadReplyTooLong        BadReply = "too-long"
	BadReplyMixedCodes     BadReply = "mixed-codes"
	BadReplyUnasked        BadReply = "unasked"
	BadReplyUnfitting      BadReply = "unfitting"
	BadReplyBehindSTARTTLS BadReply = "behind-starttls"
)

// BadReplies returns every BadReply.
func BadReplies() []BadReply {
	return []BadReply{BadReplyGarbage, BadReplyTooLong, BadReplyMixedCodes, BadReplyUnasked, BadReplyUnfitting, BadReplyBehindSTARTTLS}
}

// A Side is one of the two peers of a session.
type Side string

// The sides of a session.
const (
	SideClient Side = "client"
	SideServer Side = "server"
)

// Sides returns every Side.
func Sides() []Side { return []Side{SideClient, SideServer} }

// A Mechanism is a SASL mechanism. A mechanism whose name ends with -PLUS counts as the
// one without. MechanismOther stands for all mechanisms that are not listed.
type Mechanism string

// The mechanisms that are distinguished.
const (
	MechanismPlain       Mechanism = "PLAIN"
	MechanismLogin       Mechanism = "LOGIN"
	MechanismCRAMMD5     Mechanism = "CRAM-MD5"
	MechanismDigestMD5   Mechanism = "DIGEST-MD5"
	MechanismNTLM        Mechanism = "NTLM"
	MechanismGSSAPI      Mechanism = "GSSAPI"
	MechanismSPNEGO      Mechanism = "GSS-SPNEGO"
	MechanismExternal    Mechanism = "EXTERNAL"
	MechanismSCRAMSHA1   Mechanism = "SCRAM-SHA-1"
	MechanismSCRAMSHA256 Mechanism = "SCRAM-SHA-256"
	MechanismXOAuth2     Mechanism = "XOAUTH2"
	MechanismOAuthBearer Mechanism = "OAUTHBEARER"
	MechanismOther       Mechanism = "other"
)

// Mechanisms returns every Mechanism.
func Mechanisms() []Mechanism {
	return []Mechanism{MechanismPlain, MechanismLogin, MechanismCRAMMD5, MechanismDigestMD5, MechanismNTLM, MechanismGSSAPI,
		MechanismSPNEGO, MechanismExternal, MechanismSCRAMSHA1, MechanismSCRAMSHA256, MechanismXOAuth2, MechanismOAuthBearer, MechanismOther}
}

// An AuthOutcome says how an AUTH exchange ended on one side.
type AuthOutcome string

// The outcomes of AUTH exchanges.
const (
	AuthOK         AuthOutcome = "ok"
	AuthRefused    AuthOutcome = "refused"
	AuthCancelled  AuthOutcome = "cancelled"  // the side that logs in sent "*"
	AuthUnfinished AuthOutcome = "unfinished" // the connection ended during the exchange
)

// AuthOutcomes returns every AuthOutcome.
func AuthOutcomes() []AuthOutcome {
	return []AuthOutcome{AuthOK, AuthRefused, AuthCancelled, AuthUnfinished}
}

// A LoginOutcome says how smtpshim's own login at a server ended.
type LoginOutcome string

// The outcomes of logins at servers.
const (
	LoginOK LoginOutcome = "ok"
	// LoginRefused is a refusal by the server, or by smtpshim because the server
	// refused the account a moment ago.
	LoginRefused LoginOutcome = "refused"
	// LoginFailed means that there was no mechanism to use, or that the exchange ended
	// before the server accepted or refused the account.
	LoginFailed        LoginOutcome = "failed"
	LoginNoCredentials LoginOutcome = "no-credentials" // there was no access token
	LoginBusy          LoginOutcome = "busy"           // the account had as many sessions as it may have
)

// LoginOutcomes returns every LoginOutcome.
func LoginOutcomes() []LoginOutcome {
	return []LoginOutcome{LoginOK, LoginRefused, LoginFailed, LoginNoCredentials, LoginBusy}
}

// A TokenOutcome says what became of a request for an access token.
type TokenOutcome string

// The outcomes of requests for tokens.
const (
	TokenOK            TokenOutcome = "ok"
	TokenUnreachable   TokenOutcome = "unreachable" // the endpoint did not reply
	TokenUnavailable   TokenOutcome = "unavailable" // the endpoint had a temporary error
	TokenInvalidClient TokenOutcome = "invalid-client"
	TokenInvalidGrant  TokenOutcome = "invalid-grant"
	TokenRejected      TokenOutcome = "rejected" // any other refusal, or no token came
	TokenLocal         TokenOutcome = "local"    // a file or program of this machine failed
)

// TokenOutcomes returns every TokenOutcome.
func TokenOutcomes() []TokenOutcome {
	return []TokenOutcome{TokenOK, TokenUnreachable, TokenUnavailable, TokenInvalidClient, TokenInvalidGrant, TokenRejected, TokenLocal}
}

// A Sign says how the product at one end of a session was recognised.
type Sign string

// The signs of products.
const (
	SignGreeting Sign = "greeting"
	SignEHLO     Sign = "ehlo" // the server's reply to EHLO
	SignHELP     Sign = "help" // the server's reply to HELP
	// SignRemembered stands for an earlier session with this server, whose greeting was
	// the same but for dates and session numbers.
	SignRemembered Sign = "remembered"
	SignCommand    Sign = "command" // a command of the client
)

// Signs returns every Sign.
func Signs() []Sign {
	return []Sign{SignGreeting, SignEHLO, SignHELP, SignRemembered, SignCommand}
}

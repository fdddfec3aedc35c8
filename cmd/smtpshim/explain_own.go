package main

import (
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// An ownText is a text with which smtpshim itself refuses, and its meaning.
type ownText struct {
	text      string // including the code; possibly a part of the reply
	bare      string // the same without the code, in lower case
	means, do string
	ends      vocabulary.Outcome // the outcome of sessions that it ends, which says more; "": it ends none
	rules     bool               // the text is also a symptom of rules, which are shown too
}

// ownCauses returns the causes of our own texts in a line. rest is the line without those
// that are not symptoms of rules, so that they are not compared with texts of other
// programs.
func (e *explainer) ownCauses(line string) (causes []cause, rest string) {
	lower := strings.ToLower(line) // once, because most lines have none
	if strings.Contains(lower, noLoginMeans) {
		causes = append(causes, cause{Means: rewrite.NoLoginMeans, Do: rewrite.NoLoginDo, Source: ownSource, weight: weightOwn})
		return causes, cutOut(cutOut(line, "530 5.7.0 authentication required"), rewrite.NoLoginMeans)
	}
	for _, o := range e.own {
		if !strings.Contains(lower, o.bare) {
			continue
		}
		short := cutOut(cutOut(line, o.text), o.bare) // some programs omit the code
		own := cause{Means: o.means, Do: o.do, Source: ownSource, weight: weightOwn, ends: o.ends}
		if !o.rules {
			line, lower = short, strings.ToLower(short)
		} else if strings.Contains(line, "outcome") {
			own.weight = weightVague // a line of our log says more
		}
		causes = append(causes, own)
	}
	return causes, line
}

var noLoginMeans = strings.ToLower(rewrite.NoLoginMeans)

const ownSource = "smtpshim's own text"

// cutOut removes a text from a line wherever it occurs, ignoring case.
func cutOut(line, text string) string {
	text = strings.ToLower(text)
	for {
		lower := strings.ToLower(line)
		at := strings.Index(lower, text)
		if at < 0 || len(lower) != len(line) {
			return line
		}
		line = line[:at] + line[at+len(text):]
	}
}

// ownTexts returns the texts with which sessions are refused or end, other than those in
// the words of RFCs.
func ownTexts() []ownText {
	list := append(ownEnds(), ownLimits()...)
	list = append(list, []ownText{
		{text: rewrite.NotServedText, means: "smtpshim sends this: the route does not serve clients from this address", do: "add the client's network to clients of the route"},
		{text: "421 4.3.5 no server can be reached this way", means: "smtpshim sends this: the address to which the client wanted to connect is not known, or is smtpshim's own", do: "check how the connection is redirected to the route (deploy/doc/network.md), or name servers there"},
		{text: "421 4.7.0 no PROXY header is taken from here", means: "smtpshim sends this: the client began with a PROXY header, and the route accepts none from its address", do: "add the balancer's address to proxy_protocol.accept_from"},
		{text: "421 4.3.5 the server does not offer XCLIENT", means: "smtpshim sends this: the route sends XCLIENT to the server, and the server does not offer XCLIENT", do: outcomeAdvice[vocabulary.OutcomeXCLIENT]},
		{text: "421 4.3.5 the server answered XCLIENT with", means: "smtpshim sends this: the route sends XCLIENT to the server, and the server refused it", do: outcomeAdvice[vocabulary.OutcomeXCLIENT]},
		{text: "421 4.7.0 a sealed stream is not passed to a server that is told XCLIENT", means: "smtpshim sends this: the client seals its stream itself, and the route sends XCLIENT to the server", do: outcomeAdvice[vocabulary.OutcomeXCLIENT]},
		{text: "421 4.7.0 what began as a sealed stream is none", means: "smtpshim sends this: what followed AUTH looked like a sealed stream, and was none", do: outcomeAdvice[vocabulary.OutcomeClientProtocol]},
		{text: "454 4.7.0 TLS with the server is required and not to be had", means: "smtpshim sends this: server_tls requires TLS with the server, and the server does not offer it, or it failed", do: outcomeAdvice[vocabulary.OutcomeTLS]},
		{text: "454 4.7.0 no login at the server: its connection is not encrypted", means: "smtpshim sends this: it logs in at the server only inside TLS, with a certificate that it has verified", do: "set server_tls with mode = \"require\", or \"implicit\", and verify the certificate"},
		{text: "555 5.5.4 REQUIRETLS was not offered", means: "smtpshim sends this: REQUIRETLS needs TLS on both sides, and a server whose certificate is verified", do: "have the sender do without, or set client_tls, and server_tls with a certificate that is verified"},
		{text: "554 5.5.0 text was sent before XEXCH50 was accepted", means: aheadMeans, do: aheadDo},
		{text: "554 5.5.0 nothing may be sent behind STARTTLS before its answer", means: aheadMeans, do: aheadDo},
		{text: "554 5.5.0 the message was sent before DATA was accepted", means: aheadMeans, do: aheadDo},
	}...)
	for i := range list {
		_, bare, _ := strings.Cut(list[i].text, " ")
		list[i].bare = strings.ToLower(bare)
	}
	return list
}

const (
	aheadMeans = "smtpshim sends this: the client has sent something too early, and what that is could be read in two ways"
	aheadDo    = "have the client wait for the reply; the dialogue shows what it sent"
)

// ownEnds returns texts of sessions that cannot continue.
func ownEnds() []ownText {
	ends := func(text, when string, o vocabulary.Outcome) ownText {
		return ownText{text: text, means: "smtpshim sends this when " + when, do: outcomeAdvice[o], ends: o}
	}
	broken := ends("421 4.3.0 server broke the protocol", "the server sent something that breaks the protocol", vocabulary.OutcomeServerProtocol)
	silent := ends("421 4.4.2 no answer from server in time", "the server did not answer in time", vocabulary.OutcomeServerTimeout)
	broken.rules, silent.rules = true, true
	return []ownText{
		ends("421 4.3.2 server not available", "it reached no server", vocabulary.OutcomeServerUnreachable),
		ends("421 4.4.2 connection to server lost", "the server hung up", vocabulary.OutcomeServerLost),
		broken, silent,
		ends("421 4.3.0 the server takes a command that long for several", "the server gave several replies to one long command", vocabulary.OutcomeServerProtocol),
		ends("421 4.3.0 the server answered for fewer recipients than it accepted", "an LMTP server left out replies", vocabulary.OutcomeServerProtocol),
		ends("421 4.3.2 the service is being shut down", "it is being stopped", vocabulary.OutcomeCutOff),
		ends("421 4.3.0 internal error", "it has met a defect of its own", vocabulary.OutcomeDefect),
		{text: "451 4.3.0 the message cannot be passed on", means: "smtpshim sends this when a rule has failed on a message", do: outcomeAdvice[vocabulary.OutcomeDefect]},
		{text: "421 4.3.0 the last message cost the connection", means: "smtpshim sends this when it refused a message before its end, which cost the connection to the server",
			do: "the client connects again by itself; the refusal of the message before says why"},
		{text: "421 4.3.0 what is being sent was refused long ago", means: "smtpshim sends this when a client continues to send a message that was refused", do: "look at the refusal before it"},
		ends("421 4.4.2 the message comes too slowly", "a message arrives more slowly than limits.message_rate", vocabulary.OutcomeClientTimeout),
		ends("421 4.4.2 no more of the message in time", "the rest of a message does not arrive within timeouts.data", vocabulary.OutcomeClientTimeout),
		ends("421 4.4.2 no command in time", "the client sends nothing within timeouts.command", vocabulary.OutcomeClientTimeout),
	}
}

// ownLimits returns texts of limits.
func ownLimits() []ownText {
	limit := func(text, what, keys string) ownText {
		return ownText{text: text, means: "smtpshim sends this: " + what, do: "check whether the client is right to do so; " + keys + " of the route allows more"}
	}
	return []ownText{
		limit("421 4.7.0 too many sessions, try again later", "there are too many sessions at once, or in a minute, of all clients or of this address",
			"sessions, sessions_per_address or sessions_per_minute in limits"),
		limit("421 4.7.0 line without an end", "the client sent a line that is too long, and does not end", "command_line or sasl_line in limits"),
		limit("421 4.7.0 too many errors", "too many of the client's lines were no commands", "errors in limits"),
		limit("421 4.7.0 too many messages in one session", "the client sent as many messages as a session may have", "messages in limits"),
		limit("421 4.7.0 too many commands without a message", "the client sent too many commands without a message", "idle_commands in limits"),
	}
}

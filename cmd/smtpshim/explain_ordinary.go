package main

import (
	"slices"
	"strings"
)

// An ordinary refusal is no fault of either side's SMTP, or one that smtpshim mends
// without a rule.
type ordinary struct {
	codes     []string // of which the line has one; none: any
	texts     []string // of which the line has one, in small letters
	means, do string
	source    string
}

const endsHere = "have TLS end at smtpshim, by client_tls and server_tls, with weak for the old side (README, Old TLS, with a way out)"

// ordinaryRefusals are those of everyday mail.
func ordinaryRefusals() []ordinary {
	return []ordinary{
		{[]string{"530"}, []string{"must issue a starttls command first"},
			"the server takes mail inside TLS only", "have the client use TLS, or let smtpshim do so for it: server_tls with mode = \"require\"", "RFC 3207, 4"},
		{nil, []string{"user unknown", "no such user", "unknown user", "user not found", "5.1.1 "},
			"the server does not know the recipient: this is about the address, not about SMTP", "correct the address; there is nothing to heal", "RFC 3463, 3.2 (5.1.1)"},
		{nil, []string{"relay access denied", "unable to relay", "relaying denied", "relay not permitted", "relaying not permitted"},
			"the server relays for clients alone that it knows", "have the client log in, or give it a login; where the server goes by addresses, it sees that of smtpshim: name it there, or pass the client's on by xclient", "RFC 3463, 3.8 (5.7.1)"},
		{nil, []string{"greylist", "graylist"},
			"the server has not seen this sender before, and wants it to come again (greylisting)", "let the sender try again later from the same address; there is nothing to heal", "RFC 6647, 2"},
		{nil, []string{"protocol synchronization", "synchronization error", "improper command pipelining", "improper use of smtp command pipelining"},
			"the client has sent something before it was its turn", "put smtpshim between: it holds what a client sends ahead, whatever the rules", "L12 and L91 of the catalogue; RFC 2920, 3.1"},
		{[]string{"452"}, []string{"too many recipients"},
			"the server takes no more recipients in one message", "a sender that follows RFC 5321 sends to the others in another message; where it does not, let it name fewer", "RFC 5321, 4.5.3.1.10"},
		{nil, []string{"5.3.4", "message size exceeds", "message too large", "message file too big"},
			"the message is larger than the server takes", "send a smaller one, or raise the server's limit; limits.message_size is smtpshim's own", "RFC 1870, 6; RFC 3463, 3.4 (5.3.4)"},
		{nil, []string{"tls 1.0 and 1.1 are not supported", "unsupported protocol", "no shared cipher", "no protocols available", "protocol version not supported", "dh key too small", "alert handshake failure"},
			"the two sides have no version or suite of TLS in common that both allow", endsHere, "RFC 8446, 6.2; RFC 8996"},
		{nil, []string{"certificate verify failed", "self signed certificate", "self-signed certificate", "certificate has expired", "unable to get local issuer certificate", "server certificate not verified"},
			"one side does not accept the certificate of the other", "where it is the server's, have smtpshim do TLS with it, by server_tls with pins or ca; where it is smtpshim's, give client_tls one that clients know", "RFC 8446, 6.2"},
		{nil, []string{"cannot start tls", "ssl_connect error", "ssl_accept error", "(gnutls_handshake)"},
			"TLS was begun, and the two did not agree; another line of the log may say why", "mostly they have no version or suite in common: " + endsHere, "RFC 3207, 4.1"},
		{nil, []string{"connection timed out", "operation timed out", "connection refused", "no route to host", "network is unreachable"},
			"there is no connection to the server: nothing was said", "look at its address and port, and at firewalls between; smtpshim check -live tries each server of a route", "RFC 5321, 3.1"},
		{nil, []string{"while receiving the initial server greeting", "closed connection in response to initial connection"},
			"the server takes the connection, and hangs up or says nothing where it has to greet", "see whether it refuses this address, and whether TLS begins at once on its port (server_tls with mode = \"implicit\")", "RFC 5321, 3.1; RFC 8314, 3.3"},
		{nil, []string{"need fully-qualified hostname"},
			"the server wants a name with a domain in EHLO or HELO, and the client says one word", "put smtpshim between, with domain or name in [route.options.fix-hello-name]", "RFC 5321, 2.3.5; Postfix, reject_non_fqdn_helo_hostname"},
		{[]string{"501", "550", "552"}, []string{" ehlo - +", " helo - +"},
			"a server of Microsoft's refuses the name in EHLO or HELO", "put smtpshim between: the rule fix-hello-name heals it, and is in force where a route has no rules of its own", "KB Q240832"},
		{[]string{"505"}, []string{" mail - +"},
			"a server of Microsoft's wants TLS or a login first, and says so by a code that senders do not know", "put smtpshim between: the rules mend-505 and retry-starttls are for it, and are in force where a route has no rules of its own", "KB Q279214"},
		{nil, []string{"mailbox full", "mailbox is full", "over quota", "quota exceeded", "5.2.2 "},
			"the mailbox has no room", "let the sender try again later; where it bounces because of a 5xx, [[route.replace]] makes 452 of it, as the README shows", "RFC 3463, 3.3 (5.2.2)"},
		{nil, []string{"domain not found", "sender domain must exist", "5.1.8 ", "4.1.8 "},
			"the server does not find the domain of the sender's address in the DNS", "correct the address or the DNS; the rule map-domains tells the server another domain", "RFC 3463, 3.2 (5.1.8)"},
		{nil, []string{"spamhaus", "spamcop", "blocked using", "block list", "blocklist", "blacklist", "banned sending ip"},
			"the server takes no mail from this address, by a list of addresses", "have the address taken off the list; where the server sees that of smtpshim instead of the client's, pass the client's on, by source or xclient", "RFC 5782, 2"},
		{nil, []string{"dmarc", "spf check", "spf fail", "sender policy framework", "5.7.26 ", "5.7.23 "},
			"the server refuses by the domain of the sender: SPF, DKIM or DMARC", "add the address to the domain's SPF record, or have the mail signed; where the server sees that of smtpshim, it is that one", "RFC 7208; RFC 7489; RFC 7372, 3"},
	}
}

// ordinaryCauses are the ordinary refusals that a line tells of.
func ordinaryCauses(line string) []cause {
	var causes []cause
	text, codes := strings.ToLower(strings.Join(strings.Fields(line), " "))+" ", replyCodes.FindAllString(line, -1)
	for _, o := range ordinaryRefusals() {
		if o.codes != nil && !slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(o.codes, c) }) {
			continue
		}
		if slices.ContainsFunc(o.texts, func(t string) bool { return strings.Contains(text, t) }) {
			causes = append(causes, cause{Means: o.means, Do: o.do, Source: o.source, weight: 50})
		}
	}
	return causes
}

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

package main

import (
	"slices"
	"strings"

	providers "smtpshim/proxy/provider"
)

// An ordinary is a refusal that is not due to a fault in either side's SMTP, or that
// smtpshim heals without a rule.
type ordinary struct {
	codes     []string // the line has one of these; none: any
	texts     []string // the line has one of these, in lower case
	means, do string
	source    string
	vague     bool // it only says that something failed; another line says why
}

func (o ordinary) cause() cause {
	c := cause{Means: o.means, Do: o.do, Source: o.source, vague: o.vague, weight: weightOrdinary}
	if o.vague {
		c.weight = weightVague
	}
	return c
}

// ordinaryCauses returns the ordinary refusals that a line shows.
func (e *explainer) ordinaryCauses(line string) (causes []cause) {
	text := strings.ToLower(strings.Join(strings.Fields(line), " ")) + " "
	var codes []string
	for at := range codesIn(line) {
		codes = append(codes, line[at:at+3])
	}
	for _, o := range e.ordinary {
		if o.codes != nil && !slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(o.codes, c) }) {
			continue
		}
		if slices.ContainsFunc(o.texts, func(t string) bool { return strings.Contains(text, t) }) {
			causes = append(causes, o.cause())
		}
	}
	return causes
}

const endsHere = "have TLS end at smtpshim, by client_tls and server_tls, with weak for the old side (deploy/doc/tls.md, Old TLS, with a way out)"

const tidied = "the rule tidy-commands heals one that the client writes with a name, with blanks or without brackets" + andStandard

// The meanings of ordinary refusals that an enhanced status code alone may show too.
const (
	unknownRecipient = "the server does not know the recipient: this is about the address, not about SMTP"
	wrongRecipient   = "the server finds a mistake in how the recipient's address is written: this is about RCPT, not about EHLO"
	wrongSender      = "the server finds a mistake in how the sender's address is written: this is about MAIL, not about EHLO"
	unknownSender    = "the server does not find the domain of the sender's address in the DNS"
	unknownServer    = "the name of a server, or the domain of the recipient, is not found in the DNS"
	unreachable      = "there is no connection to the server: nothing was sent"
	disabledMailbox  = "the mailbox accepts no mail: it is disabled, or its owner has left"
	fullMailbox      = "the mailbox has no room"
	fullServer       = "the server is short of disk space or memory, and accepts no mail until it has more"
	largeMessage     = "the message is larger than the server accepts"
	circle           = "the message loops: two servers send it to each other, or one to itself"
	expired          = "the message waited too long in a queue, and the sender gave up; another line may say what it waited for"
	bySender         = "the server refuses by the domain of the sender: SPF, DKIM or DMARC"
	namelessAddress  = "the server finds no name in the DNS for this address, or one that does not lead back to it"
)

// ordinaryRefusals returns the refusals of everyday mail: about people and addresses,
// then about networks, the dialogue and TLS. The texts are those of Postfix, Exim,
// Sendmail, qmail, Exchange, Domino and large providers.
func ordinaryRefusals() []ordinary {
	return slices.Concat(aboutAddresses(), aboutPolicies(), aboutDialogue(), aboutTLS())
}

func aboutAddresses() []ordinary {
	return []ordinary{
		{texts: []string{"user unknown", "no such user", "unknown user", "user not found", "unknown recipient", "recipient unknown", "invalid recipient",
			"no such recipient", "recipnotfound", "recipientnotfound", "user not exist", "invalid final delivery userid", "mailbox not found", "no such mailbox", "no mailbox here by that name", "mailbox does not exist", "no such address",
			"account does not exist", "account that you tried to reach does not exist", "user does not exist", "does not have a yahoo.com account", "doesn't have a yahoo",
			"recipient name is not recognized", "not listed in domino directory", "not listed in public name & address book", "unrouteable address", "unroutable address",
			"is not a valid mailbox", "recipient address rejected: access denied", "recipient rejected", "recipient not found", "recipient addresses rejected", "this user doesn't have a",
			"unknown or illegal alias", "no longer on server", "adresse destinataire invalide", "address not found", "mailbox unavailable or access denied"},
			means: unknownRecipient, do: "correct the address; there is nothing to heal", source: "RFC 3463, 3.2 (5.1.1)"},
		{texts: []string{"bad destination mailbox address syntax"},
			means: wrongRecipient, do: "correct the address; " + tidied, source: "RFC 3463, 3.2 (5.1.3)"},
		{texts: []string{"bad sender's mailbox address syntax"},
			means: wrongSender, do: "correct the address; " + tidied, source: "RFC 3463, 3.2 (5.1.7); github.com/acassen/keepalived/issues/2365"},
		{texts: []string{"account that you tried to reach is disabled", "mailbox disabled", "disabled recipient", "recipient disabled", "account disabled", "account is disabled",
			"mailbox is disabled", "account has been disabled", "mailbox is inactive", "inactive email", "account inactive", "account is inactive", "mailbox is frozen", "account is locked", "account has been suspended", "account is suspended", "recipient account is blocked", "temporary locked"},
			means: disabledMailbox, do: "ask the recipient by another way; there is nothing to heal", source: "RFC 3463, 3.3 (5.2.1)"},
		{texts: []string{"mailbox full", "mailbox is full", "over quota", "quota exceeded", "quota exceed", "insufficient storage space", "mailbox size limit exceeded",
			"exceeded storage allocation", "out of storage space", "inbox is out of space", "mailfolder is full", "mailbox exceeded the local limit", "mailbox has exceeded"},
			means: fullMailbox, do: "let the sender try again later; if it bounces because of a 5xx, [[route.replace]] changes that to 452, as deploy/doc/rules.md shows", source: "RFC 3463, 3.3 (5.2.2)"},
		{texts: []string{"insufficient system resources", "insufficient system storage", "insufficient disk space"},
			means: fullServer, do: "make room where the server has its queue (Exchange says so by back pressure, Postfix by queue_minfree); the sender tries again by itself", source: "RFC 5321, 4.2.3 (452); RFC 3463, 3.4 (4.3.1)"},
		{texts: []string{"domain not found", "sender domain must exist", "domain of sender address", "sender verify failed", "sender domain not found"},
			means: unknownSender, do: "correct the address or the DNS; the rule map-domains sends the server another domain", source: "RFC 3463, 3.2 (5.1.8)"},
		{texts: []string{"host or domain name not found", "host not found", "name service error", "non-existent hosts", "no such domain", "domain does not exist", "unknownhostexception", "could not resolve host",
			"name or service not known", "no such host is known", "host unknown", "unknown host", "could not be resolved", "temporary failure in name resolution", "no mx record", "nullmx", "null mx",
			"getaddrinfo enotfound", "no route found to domain", "infodomainnonexistent"},
			means: unknownServer, do: "correct the address or the name of the server, or the DNS that this machine uses", source: "RFC 3463, 3.2 and 3.5 (5.1.2, 5.4.4)"},
		{texts: []string{"message size exceeds", "message too large", "message file too big", "exceeded google's message size limits", "message size limit", "size limit exceeded",
			"recipsizelimit", "exceeds size limit", "message length exceeds", "exceeded the maximum message size", "message file exceeded", "message is too big", "message too big"},
			means: largeMessage, do: "send a smaller one, or raise the server's limit; limits.message_size is smtpshim's own", source: "RFC 1870, 6; RFC 3463, 3.4 (5.3.4)"},
		{texts: []string{"loops back to myself", "too many hops", "mail loop", "hop count exceeded", "routing loop", "mail forwarding loop", "too many received", "is looping"},
			means: circle, do: "look at the Received fields of the message; a smtpshim whose server sends to this smtpshim makes such a loop, too", source: "RFC 5321, 6.3; RFC 3463, 3.5 (5.4.6)"},
		{texts: []string{"queue.expired", "message expired", "retry timeout exceeded", "retry time not reached", "delivery time expired", "i'm not going to try again", "message timed out"},
			means: expired, do: "look for the refusal before it, in the log of the server that gave up", source: "RFC 3463, 3.5 (4.4.7)", vague: true},
	}
}

func aboutPolicies() []ordinary {
	return []ordinary{
		{texts: []string{"relay access denied", "unable to relay", "relaying denied", "relay not permitted", "relaying not permitted", "relaying not allowed", "relay denied", "no relaying", "relaying prohibited", "relaying is prohibited", "not configured to relay",
			"not allowed to relay", "isn't in my list of allowed rcpthosts", "that domain isn't in my list", "relaying is not", "requires authentication when attempting to send to a non-local"},
			means: "the server relays only for clients that it knows",
			do:    "have the client log in, or give it a login; if the server decides by addresses, it sees that of smtpshim: allow that one, or pass the client's by xclient", source: "RFC 3463, 3.8 (5.7.1)"},
		{texts: []string{"greylist", "graylist", "grey-list", "grey list"},
			means: "the server has not seen this sender before, and requires it to try again later (greylisting)", do: "let the sender try again later from the same address; there is nothing to heal", source: "RFC 6647, 2"},
		{texts: []string{"spamhaus", "spamcop", "blocked using", "block list", "blocklist", "is blacklisted", "been blacklisted", "blacklisted by", "blacklisted at", "our blacklist", "banned sending ip", "dnsbl", "sorbs.net", "barracudacentral", "ipcheck.proofpoint",
			"poor reputation", "bad reputation", "ip reputation", "low reputation", "is listed in", "blocked by rbl"},
			means: "the server accepts no mail from this address, because of a list of addresses",
			do:    "have the address removed from the list; if the server sees that of smtpshim instead of the client's, pass the client's by source or xclient", source: "RFC 5782, 2"},
		{texts: []string{"dmarc", "spf check", "spf fail", "sender policy framework", "does not pass spf", "unauthenticated email from", "sender is unauthenticated", "dkim fail", "dkim check", "spf record", "does not have authentication information"},
			means: bySender, do: "add the address that the server sees to the domain's SPF record, which may be that of smtpshim, or have the mail signed", source: "RFC 7208; RFC 7489; RFC 7372, 3"},
		{texts: []string{"cannot find your hostname", "cannot find your reverse hostname", "ip name lookup failed", "reverse dns", "ptr record", "no ptr", "rdns", "ip name possibly forged"},
			means: namelessAddress, do: "give the address that the server sees, which may be that of smtpshim, a name in the DNS that leads back to it", source: "RFC 7372, 3.3 (5.7.25); Postfix, reject_unknown_client_hostname"},
		{texts: []string{"rejected as spam", "as spam", "spam points", "spam message", "considered spam", "spam content", "looks like spam", "spam detected", "message content rejected",
			"content filtering", "high probability of spam", "unsolicited", "spam score", "detected as a spam", "suspected spam", "classified as spam"},
			means: "the server takes the message for spam", do: "ask who runs the server; smtpshim passes messages on as they are, and can heal nothing here", source: "RFC 3463, 3.8 (5.7.1)"},
		{texts: []string{"presents a potential security issue", "virus detected", "contains a virus", "virus found", "is infected", "attachment type", "executable content", "contains malware"},
			means: "the server has found what it takes for a virus, or a kind of file that it does not accept", do: "send the file by another way; smtpshim passes messages on as they are, and can heal nothing here", source: "RFC 3463, 3.8 (5.7.1)"},
		{texts: []string{"not rfc 5322 compliant", "not rfc 2822 compliant", "messages with multiple addresses in from", "multiple from headers", "multiple subject"},
			means: "the server refuses the header of the message", do: "mend what writes it; the rule header-fields adds a Date and a Message-ID, and puts From on one line", source: "RFC 5322, 3.6"},
		{texts: []string{"for policy reasons", "local policy violation", "security policies", "use the smtp server of your isp", "administrative prohibition", "administratively denied"},
			means: "the server refuses by a rule of its operator, and does not say which", do: "ask who runs the server; another line may say more", source: "RFC 3463, 3.8 (5.7.1)", vague: true},
		{texts: []string{"rate limit", "too many connections", "too many concurrent", "[tss0", "unexpected volume", "too many messages", "receiving mail at a rate", "receiving mail too quickly",
			"sending limit exceeded", "throttled", "too much mail", "too many smtp sessions", "connection frequency", "frequency limited"},
			means: "there are too many in a short time: connections, messages or recipients", do: "let the sender try again later; limits.sessions_per_address and the pace of the sender keep below it", source: "RFC 3463, 3.4 (4.3.2)"},
	}
}

func aboutDialogue() []ordinary {
	basic, _ := providers.Explain(535, "5.7.139") // a test checks that it is known
	return []ordinary{
		{texts: []string{"basic authentication is disabled"}, means: basic.Means, do: basic.Do, source: "smtpshim's table of refusals, deploy/doc/login.md"},
		{codes: []string{"454", "530", "550", "553", "554", "503", "535"}, texts: []string{"does not have permission to submit mail to this server", "client was not authenticated", "client not authenticated", "authentication required", "authentication is required",
			"unauthenticated senders not allowed", "must authenticate", "must be authenticated", "sender address rejected: not logged in"},
			means: "the client has not logged in", do: "have the client log in, or give it a login; if smtpshim itself sent this, no [[route.login]] of the route fits the client's address", source: "RFC 4954, 6"},
		{texts: []string{"not owned by user", "not permitted to send as", "not allowed to send as"},
			means: "the account may not send as this sender", do: "give the login a sender, or let the server allow the account this one", source: "RFC 6409, 6.1; Postfix, reject_sender_login_mismatch"},
		{codes: []string{"530"}, texts: []string{"must issue a starttls command first"},
			means: "the server accepts mail inside TLS only", do: "have the client use TLS, or let smtpshim do so for it: server_tls with mode = \"require\"", source: "RFC 3207, 4"},
		{codes: []string{"451"}, texts: []string{"starttls is required", "must issue a starttls command first"},
			means: "the server accepts mail inside TLS only",
			do: "have the client use TLS, or let smtpshim do so for it: server_tls with mode = \"require\"; a server that asks for STARTTLS and does not offer it has no certificate that it can use, " +
				"and a client that has begun TLS may have no version of it in common with the server", source: "RFC 3207, 4; Microsoft, TLS 1.0 and TLS 1.1 disablement (MC229914)"},
		{codes: []string{"503"}, texts: []string{"send helo/ehlo first", "send ehlo/helo first", "send helo first", "send ehlo first", "helo/ehlo first", "ehlo/helo first", "need ehlo", "polite people say helo first", "helo or ehlo required"},
			means:  "the server has not received EHLO or HELO since the connection or TLS began: the client did not send it, or a firewall has masked it",
			do:     "put smtpshim between: the rule repeat-ehlo sends it for a client that omits it after STARTTLS, and is in force if a route has no rules of its own; behind a firewall, masked-ehlo has to be in rules",
			source: "RFC 5321, 4.1.4; RFC 3207, 4.2; Postfix, smtpd_helo_required; github.com/uplusware/erisemail/issues/1"},
		{texts: []string{"protocol synchronization", "synchronization error", "improper command pipelining", "improper use of smtp command pipelining"},
			means: "the client has sent something too early", do: "put smtpshim between: it holds back what a client sends too early, with any rules", source: "L12 and L91 of the catalogue; RFC 2920, 3.1"},
		{codes: []string{"452"}, texts: []string{"too many recipients"},
			means: "the server accepts no more recipients in one message", do: "a sender that follows RFC 5321 sends to the others in another message; if this one does not, let it name fewer", source: "RFC 5321, 4.5.3.1.10"},
		{codes: []string{"500", "502", "504", "505"}, texts: []string{"xexch50", "need to authenticate first"},
			means: "the server refuses XEXCH50, by which Exchange servers send each other properties of a message; the sender then sends the message without",
			do:    "nothing, if the mail arrives; where it stays in the queue, smtpshim between the two helps: it hides XEXCH50 and never carries it", source: "KB843106; KB818222"},
		{texts: []string{"connection timed out", "operation timed out", "connection refused", "no route to host", "network is unreachable", "econnrefused",
			"failed to connect. winsock error code", "unable to connect to remote host", "could not connect to smtp host", "connection attempt failed"},
			means: unreachable, do: "check its address and port, and firewalls between; smtpshim check -live tries each server of a route", source: "RFC 5321, 3.1"},
		{texts: []string{"while receiving the initial server greeting", "closed connection in response to initial connection"},
			means: "the server accepts the connection, and hangs up or sends nothing instead of a greeting",
			do:    "check whether it refuses this address, and whether TLS begins at once on its port (server_tls with mode = \"implicit\")", source: "RFC 5321, 3.1; RFC 8314, 3.3"},
		{texts: []string{"need fully-qualified hostname"},
			means: "the server requires a name with a domain in EHLO or HELO, and the client sends one word", do: "put smtpshim between, with domain or name in [route.options.fix-hello-name]", source: "RFC 5321, 2.3.5; Postfix, reject_non_fqdn_helo_hostname"},
		{codes: []string{"501", "550", "552"}, texts: []string{" ehlo - +", " helo - +"},
			means: "a Microsoft server refuses the name in EHLO or HELO", do: "put smtpshim between: the rule fix-hello-name heals it" + andStandard, source: "KB Q240832"},
		{codes: []string{"505"}, texts: []string{" mail - +"},
			means: "a Microsoft server requires TLS or a login first, and says so by a code that senders do not know",
			do:    "put smtpshim between: the rules mend-505 and retry-starttls are for it" + andAllStandard, source: "KB Q279214"},
	}
}

func aboutTLS() []ordinary {
	return []ordinary{
		{texts: []string{"tls 1.0 and 1.1 are not supported", "unsupported protocol", "unsupported_protocol", "no shared cipher", "no_shared_cipher", "no protocols available", "protocol version not supported",
			"dh key too small", "alert handshake failure", "tls alert, handshake failure", "no appropriate protocol", "alert protocol version", "no mutual cipher", "tlsv1 alert",
			"protocol version mismatch", "no cipher suites in common", "received fatal alert: handshake_failure", "received fatal alert: protocol_version", "version too low"},
			means: "the two sides have no version or suite of TLS in common that both allow", do: endsHere, source: "RFC 8446, 6.2; RFC 8996"},
		{texts: []string{"connection dropped due to socketerror", "connection dropped due to connectionreset"},
			means: "Exchange itself reports that the connection was cut, and no server has sent this: often the two sides have no version of TLS in common",
			do:    "check in the protocol log of the connector whether it was cut after STARTTLS; if so, " + endsHere + "; if not, look at firewalls between", source: "Microsoft, TLS 1.0 and TLS 1.1 disablement (MC229914)"},
		{texts: []string{"wrong version number", "wrong_version_number", "plaintext connection?", "first record does not look like a tls handshake", "unexpected tls packet"},
			means: "one side begins TLS, and the other continues in clear", do: "a server with TLS at once has server_tls with mode = \"implicit\", one that begins it by STARTTLS mode = \"require\"; for clients there are the rules accept-early-tls and greet-in-clear", source: "RFC 8314, 3.3; RFC 3207, 4"},
		{texts: []string{"certificate verify failed", "certificate verification failed", "self signed certificate", "self-signed certificate", "certificate has expired", "unable to get local issuer certificate",
			"server certificate not verified", "server certificate not trusted", "failed to verify certificate", "certificate signed by unknown authority", "pkix path building failed", "certificate is not trusted",
			"remote certificate is invalid", "alert unknown ca", "alert bad certificate", "alert certificate unknown", "hostname mismatch"},
			means: "one side does not accept the certificate of the other", do: "if it is the server's, have smtpshim use TLS with it, by server_tls with pins or ca; if it is smtpshim's, give client_tls one that clients trust", source: "RFC 8446, 6.2"},
		{texts: []string{"cannot start tls", "ssl_connect error", "ssl_accept error", "(gnutls_handshake)", "tls handshake failed"},
			means: "TLS was begun, and the two did not agree; another line of the log may say why", do: "mostly they have no version or suite in common: " + endsHere, source: "RFC 3207, 4.1", vague: true},
	}
}

package listen

import (
	"slices"
	"strings"

	"smtpshim/proxy/probe"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A row is something that a client may do, with its meaning and what heals it.
type row struct {
	name  string
	entry string // of the catalogue
	means string

	rule    string // the rule that heals it
	option  string // an option that the rule needs, as a line of [route.options.NAME]; "": none
	setting string // the setting that heals it, as a line of a route; with always, a remark

	always bool // the proxy heals it without any rule or setting
	note   bool // it conforms to the RFCs or is harmless, although some servers refuse it
}

// Faults before and between commands.
var (
	earlyTalk = row{name: "early-talk", entry: "L12", always: true, setting: "the client's octets wait for the greeting",
		means: "it sends commands before the greeting, which Exim, Sendmail and Postfix refuse"}
	earlyTLS = row{name: "early-tls", entry: "L13", rule: "accept-early-tls",
		means: `it begins TLS where the greeting is due; on a port of its own, client_tls.mode = "implicit" is for that`}
	lateTLS = row{name: "late-tls", entry: "L13", rule: "accept-early-tls", option: "wait = 2000",
		means: "it begins TLS where EHLO is due, and so late that the greeting was already sent"}
	ahead = row{name: "sends-ahead", entry: "L91", always: true, setting: "commands go one by one unless the server has PIPELINING",
		means: "it sends its next command before it has received the reply, and PIPELINING was not offered or does not allow it"}
	quitAhead = row{name: "quit-behind-ehlo", entry: "L90", always: true, setting: "QUIT waits for its turn, and gets 221 in any case",
		means: "it sends QUIT after EHLO without waiting for the reply"}
	textAhead = row{name: "text-before-354", entry: "L93", always: true, setting: "the message waits for the 354",
		means: "it sends the message before the 354; after a refusal of DATA its text would run as commands"}
	oneLineReader = row{name: "reads-one-line", entry: "L80", rule: "one-line-replies",
		means: "it reads one line of each reply, and takes the next line for the answer to its next command"}
	oneLineGreeting = row{name: "reads-one-line-of-greeting", entry: "L01", rule: "one-line-replies",
		means: "it takes the first line of a greeting for all of it, and the second for the answer to HELO"}
	oneLine354 = row{name: "reads-one-line-of-354", entry: "L60", rule: "join-data-reply",
		means: "it takes the first line of the answer to DATA for all of it, sends its message, and is one reply behind from then on"}
	needsESMTP = row{name: "needs-esmtp", entry: "L02", rule: "advertise-esmtp", option: `when = "always"`,
		means: "it sends HELO if the greeting lacks the word ESMTP, and then has no AUTH, SIZE or STARTTLS"}
	lineEnd  = row{name: "command-ends-lf", entry: "L63", rule: "command-ends", means: "its commands do not end with CRLF"}
	badOctet = row{name: "command-octets", means: "its commands have a CR or NUL in them"}
	blank    = row{name: "blank-line", entry: "L94", rule: "blank-lines", means: "it sends an empty line where a command is due"}
	tooLong  = row{name: "command-too-long", means: "its command is longer than 4,094 octets"}
	web      = row{name: "other-protocol", entry: "L96", rule: "other-protocols", means: "it speaks another protocol than SMTP"}
	unknown  = row{name: "unknown-command", note: true, means: "it sends a command that modern servers do not know"}
	small    = row{name: "small-letters", entry: "L95", rule: "upper-case-verbs", note: true,
		means: "its verbs are not in upper case; RFC 5321, 2.4 allows that, and some old servers do not"}
	noQUIT = row{name: "no-quit", note: true, means: "it hangs up without QUIT, which RFC 5321, 4.1.1.10 requires"}
)

// Faults of EHLO and HELO.
var (
	badHello = map[string]row{
		"missing":    helloRow("missing", "the name in its EHLO or HELO is missing"),
		"dot":        helloRow("dot", "the name in its EHLO or HELO ends with a dot"),
		"address":    helloRow("address", "it sends a bare address in EHLO or HELO; the address belongs in brackets"),
		"underscore": helloRow("underscore", "the name in its EHLO or HELO has an underscore, which no host name has"),
		"letters":    helloRow("letters", "the name in its EHLO or HELO has letters beyond ASCII"),
		"syntax":     helloRow("syntax", "its EHLO or HELO has neither the name of a host nor an address in brackets"),
		"loopback": {name: "hello-loopback", entry: "L25", rule: "fix-hello-name", note: true,
			means: "it calls itself localhost, which some servers refuse"},
	}
	oneLabel = row{name: "hello-one-label", entry: "L25", rule: "fix-hello-name", option: `domain = "example.com"`, note: true,
		means: "the name in its EHLO or HELO is one word; RFC 5321, 2.3.5 requires the whole name, and some servers look it up"}
	helloOnly = row{name: "helo-alone", entry: "L22", rule: "helo-to-ehlo", note: true,
		means: "it sends HELO to a server that greets with ESMTP, so it has no AUTH, SIZE or STARTTLS"}
	noHello   = row{name: "no-hello", means: "it sends MAIL without EHLO or HELO, which servers answer with 503"}
	ehloAgain = row{name: "ehlo-again", entry: "L23", rule: "second-ehlo", note: true,
		means: "it sends EHLO again although nothing has changed, which Exchange 5.5 refuses and which ends the login at other servers"}
	noEHLOInTLS = row{name: "no-ehlo-after-tls", entry: "L24", rule: "repeat-ehlo",
		means: "it sends no EHLO after STARTTLS, which RFC 3207, 4.2 requires; servers answer 503"}
)

func helloRow(fault, means string) row {
	return row{name: "hello-" + fault, entry: "L25", rule: "fix-hello-name", means: means}
}

// untidy maps the faults that [heal.Untidy] finds in MAIL and RCPT to rows.
var untidy = map[string]row{
	"colon":       tidyRow("blank-at-colon", "L41", "there are blanks around the colon of its MAIL or RCPT"),
	"brackets":    tidyRow("no-brackets", "L42", "its addresses have no angle brackets"),
	"parameters":  tidyRow("blank-at-parameters", "L95", "there are too many blanks before or after the parameters of its MAIL or RCPT"),
	"end":         tidyRow("blank-at-end", "L95", "there is a blank too many around or in its command"),
	"name":        tidyRow("display-name", "L43", "a display name or a second pair of brackets is around its address"),
	"apostrophes": tidyRow("apostrophes", "L43", "its address stands in apostrophes"),
	"route":       tidyRow("source-route", "L44", "a source route stands before its address"),
	"unquoted":    tidyRow("local-part-unquoted", "L45", "the local part of its address must be in quotes, and is not"),
	"quoted": {name: "local-part-quoted", entry: "L45", rule: "tidy-commands", note: true,
		means: "the local part of its address is in quotes and need not be, which some servers refuse"},
}

func tidyRow(name, entry, means string) row {
	return row{name: name, entry: entry, rule: "tidy-commands", means: means}
}

var (
	badPath  = row{name: "bad-path", means: "it is not clear what the address is in its MAIL or RCPT"}
	badOrder = row{name: "bad-order", means: "it sends a command where another is due, which servers answer with 503"}
	param    = row{name: "parameter-not-offered", entry: "L40", rule: "strip-parameters",
		means: "it sends a parameter whose extension it was not offered"}
)

// Faults of AUTH and STARTTLS.
var (
	authAfterHELO = row{name: "auth-after-helo", entry: "L22", rule: "helo-to-ehlo",
		means: "it sends HELO and then AUTH, which servers accept only after EHLO"}
	authUnasked = row{name: "auth-not-offered", entry: "L33", setting: loginSetting, means: "it sends AUTH with a mechanism that it was not offered; a route " +
		"with logins accepts CRAM-MD5, NTLM and others from it, and logs in at the server by a mechanism of the server"}
	needsNTLM = row{name: "needs-ntlm", entry: "L33", setting: loginSetting,
		means: "it gets through only if NTLM is offered; a route with logins accepts NTLM from it, and logs in at the server by a mechanism of the server"}
	xauth       = row{name: "xauth", entry: "L30", rule: "translate-xauth", means: "it logs in by XAUTH, as Exchange 5.0 does, which modern servers do not know"}
	xexps       = row{name: "x-exps", entry: "L26", means: "it logs in by X-EXPS, as Exchange does among its own, which other servers do not know"}
	firstOnLine = row{name: "auth-login-name-on-line", entry: "L32", rule: "split-auth-line", option: `lines = "all"`, note: true,
		means: "its AUTH LOGIN has the user's name on the line, which some servers refuse"}
	notBase64 = row{name: "auth-not-base64", means: "a line of its AUTH exchange is no base64"}
	inClear   = row{name: "password-in-clear", note: true, setting: `client_tls.mode = "require"`,
		means: "it sent a password without TLS; anybody on the way can read it"}
	oldTLS   = row{name: "old-tls", entry: "L103", setting: "client_tls.weak", means: "it supports nothing better than what was withdrawn: "}
	cbcTLS   = row{name: "cbc-tls", entry: "L103", setting: `client_tls.ciphers = "legacy"`, means: "its TLS has no suite with authenticated encryption: "}
	tlsFails = row{name: "tls-fails", entry: "L103", means: "the TLS handshake fails: "}
	distrust = row{name: "tls-certificate", note: true, setting: "client_tls.certificate",
		means: "it verifies the certificate and rejects a self-signed one, as it should; it needs one from an authority that it trusts"}
	inTLSClear = row{name: "clear-behind-starttls", entry: "L105", always: true, setting: "the session ends",
		means: "it sends commands after STARTTLS before the handshake, which anybody may have put there"}
)

// loginSetting makes a route log in at its server.
const loginSetting = "[[route.login]]"

// Faults in messages.
var (
	bareLF     = row{name: "bare-lf", entry: "L63", rule: "stray-bytes", means: "lines of its message end with LF alone"}
	lfEnd      = row{name: "ends-with-lf", entry: "L64", rule: "lf-ends", means: "it ends its message with LF.LF"}
	bareCR     = row{name: "bare-cr", entry: "L65", rule: "stray-bytes", means: "its message has a CR without LF"}
	nul        = row{name: "nul", entry: "L68", rule: "stray-bytes", means: "its message has a NUL"}
	longLine   = row{name: "long-line", entry: "L67", rule: "long-lines", means: "its message has a line of more than 998 octets"}
	dots       = row{name: "dots", entry: "L66", means: "it does not double a dot at the beginning of a line, so the server takes that dot away, and a line of one dot for the end"}
	falseEnd   = row{name: "false-end", entry: "L66", means: "text follows the end of its message, as if a line of one dot had been in it"}
	unlabelled = row{name: "8-bit-unlabelled", entry: "L69", rule: "label-8bit",
		means: "its message has letters beyond ASCII and no MIME-Version, so that nobody can tell which they are"}
	eightHeader = row{name: "8-bit-header", entry: "L69", means: "the header of its message has letters beyond ASCII, and its MAIL no SMTPUTF8"}
	undeclared  = row{name: "8-bit-undeclared", entry: "L50", note: true, means: "its message has letters beyond ASCII, and its MAIL no BODY=8BITMIME; modern servers accept this"}
	noDate      = row{name: "no-date", entry: "L72", rule: "header-fields", option: `add = ["Date", "Message-ID"]`, means: "its message has no Date"}
	noID        = row{name: "no-message-id", entry: "L72", rule: "header-fields", option: `add = ["Date", "Message-ID"]`,
		means: "its message has no Message-ID, for which large providers refuse mail"}
	noFrom = row{name: "no-from", entry: "L72", means: "its message has no From"}
)

// A noted is a finding with its row.
type noted struct {
	probe.Finding
	row
}

// finding returns the row as a finding, with the lines that show it.
func (r row) finding(seen []string) probe.Finding {
	f := probe.Finding{Name: r.name, Seen: seen, Means: r.means, Entry: r.entry, Rule: r.rule, Setting: r.setting}
	if f.Kind = probe.Fault; r.note {
		f.Kind = probe.Note
	}
	table := heal.Table()
	switch i := slices.IndexFunc(table, func(rule rewrite.Rule) bool { return rule.Name == r.rule }); {
	case i >= 0:
		f.Heals, f.Source = "the rule "+r.rule+" is for "+strings.ReplaceAll(table[i].Heals, "`", ""), table[i].Source
		if r.option != "" {
			f.Heals += "; here with " + r.option
		}
	case r.always:
		f.Heals, f.Setting = "smtpshim always does: "+r.setting, ""
	case r.setting != "":
		f.Heals = "the setting " + r.setting + " of a route"
	default:
		f.Heals = "no rule does"
	}
	f, _ = f.Catalogued() // a test checks that each entry exists
	return f
}

// maxSeen is the number of octets of a line that are shown.
const maxSeen = 200

// printed returns a line of the client for a finding.
func printed(text string) string {
	if len(text) > maxSeen {
		text = text[:maxSeen] + "..."
	}
	return probe.Line('C', text)
}

package dialogues

import (
	"encoding/csv"
	"regexp"
	"strconv"
	"strings"

	"smtpshim/rewrite/transcript"
)

// A format is the way in which a program writes dialogues.
type format struct {
	has   string // text that each line of the format contains
	parse func(line string) (said, bool)
}

// formats are tried in this order, beginning with those that the beginning of a line
// identifies.
var formats = []format{
	{" -> ", parseSwaks}, {" ~> ", parseSwaks}, {"<-  ", parseSwaks}, {"<~  ", parseSwaks},
	{"<** ", parseSwaks}, {"<~* ", parseSwaks}, {"**> ", parseSwaks}, {"*~> ", parseSwaks},
	{"=== ", parseSwaksStatus}, {"*** ", parseSwaksStatus},
	{"<-- ", marked(Msmtp, "<-- ", "--> ")}, {"--> ", marked(Msmtp, "<-- ", "--> ")},
	{">>> ", parseSendmail}, {"<<< ", parseSendmail},
	{"< ", marked(Curl, "< ", "> ")}, {"> ", marked(Curl, "< ", "> ")},
	{"* ", parseCurlStatus}, {"} [", parseCurlData},
	{"S: ", marked(Plain, "S: ", "C: ")}, {"C: ", marked(Plain, "S: ", "C: ")},
	{"send: ", parsePython}, {"reply: ", parsePython}, {"connect: ", parsePython},
	{" In: ", parsePostmaster}, {" Out: ", parsePostmaster},
	{"DEBUG SMTP: ", parseJavaMail},
	{"Connecting to ", parseConnecting},
	{"SMTP", parseExim},
	{"postfix", parsePostfix},
	{",", parseExchange},
}

// marked returns a parser for lines that begin with a mark.
func marked(source Source, server, client string) func(string) (said, bool) {
	return func(line string) (said, bool) {
		if text, ok := strings.CutPrefix(line, server); ok {
			return said{source: source, side: transcript.Server, text: text}, true
		}
		text, ok := strings.CutPrefix(line, client)
		return said{source: source, side: transcript.Client, text: text}, ok
	}
}

// postfixTag matches the name of the program in a line of Postfix's log, for a peer in
// debug_peer_list or with -v (postconf(5), DEBUG_README).
var postfixTag = regexp.MustCompile(`^postfix[^ /]*/(?:[a-z0-9_.-]+/)*(smtpd|smtp|lmtp)\[([0-9]+)$`)

var postfixSaid = regexp.MustCompile(`^([<>]) ([^ ]+\[[^\]]*\](?::[0-9]+)?): (.*)$`)

func parsePostfix(line string) (said, bool) {
	head, text, _ := strings.Cut(line, "]: ")
	m := postfixTag.FindStringSubmatch(head[strings.LastIndexByte(head, ' ')+1:])
	if m == nil {
		return said{}, false
	}
	t := said{source: Postfix, key: m[1] + m[2]}
	ofServer := m[1] == "smtpd"
	if p := postfixSaid.FindStringSubmatch(text); p != nil {
		t.side, t.text = transcript.Client, p[3]
		if ofServer == (p[1] == ">") {
			t.side = transcript.Server
		}
		return t, true
	}
	switch {
	case ofServer && strings.HasPrefix(text, "disconnect from "), ofServer && strings.HasPrefix(text, "connect from "):
		t.what = ends
	case !ofServer && strings.Contains(text, "lost connection with "):
		t.what = lost
	default:
		return said{}, false
	}
	return t, true
}

// eximSaid matches a line of Exim with -v or -d. The arrow of a command in a group has a
// bar or a plus.
var eximSaid = regexp.MustCompile(`^ *(?:([0-9]+) )?(?:[0-9:.]+ )? *SMTP(<<|>>|\|>|\+>|>\|) (.*)$`)

func parseExim(line string) (said, bool) {
	m := eximSaid.FindStringSubmatch(line)
	if m == nil {
		return said{}, false
	}
	t := said{source: Exim, key: m[1], text: m[3], sent: m[2] != "<<", got: m[2] == "<<"}
	if strings.HasPrefix(t.text, "writing message and terminating") {
		t.what, t.text = wrote, ""
	}
	return t, true
}

// parseConnecting finds the line with which Exim or sendmail -v begins a session.
func parseConnecting(line string) (said, bool) {
	switch {
	case strings.HasPrefix(line, "Connecting to "):
		return said{source: Exim, what: begins}, true
	case strings.Contains(line, "... Connecting to ") && strings.Contains(line, " via "):
		return said{source: Sendmail, what: begins}, true
	}
	return said{}, false
}

// sendmailSaid matches a line of sendmail -v, or of a bounce from sendmail. With -X the
// process ID precedes it (sendmail(8)).
var sendmailSaid = regexp.MustCompile(`^(?:([0-9]+) )?(<<<|>>>) (.*)$`)

func parseSendmail(line string) (said, bool) {
	m := sendmailSaid.FindStringSubmatch(line)
	if m == nil {
		return said{}, false
	}
	return said{source: Sendmail, key: m[1], text: m[3], sent: m[2] == ">>>", got: m[2] == "<<<"}, true
}

// parsePostmaster parses a line of the transcript that Postfix sends to the postmaster
// (postconf(5), notify_classes).
func parsePostmaster(line string) (said, bool) {
	if text, ok := strings.CutPrefix(line, " Out: "); ok {
		return said{source: Postfix, side: transcript.Server, text: text}, true
	}
	text, ok := strings.CutPrefix(line, " In:  ")
	return said{source: Postfix, side: transcript.Client, text: text}, ok
}

// exchangeDate matches the beginning of a line of Exchange's protocol log (SMTP Receive
// and SMTP Send). The line has date, connector, session, number, local and remote
// endpoint, event, data, context.
var exchangeDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z,`)

func parseExchange(line string) (said, bool) {
	if !exchangeDate.MatchString(line) {
		return said{}, false
	}
	r := csv.NewReader(strings.NewReader(line))
	r.LazyQuotes = true
	fields, err := r.Read()
	if err != nil || len(fields) < 8 {
		return said{}, false
	}
	t := said{source: Exchange, key: fields[2], text: fields[7]}
	switch fields[6] {
	case "+":
		t.what = begins
	case "-":
		t.what = ends
	case ">":
		t.sent = true
	case "<":
		t.got = true
	default:
		return said{}, false
	}
	return t, true
}

// parsePython parses a line of smtplib with set_debuglevel.
func parsePython(line string) (said, bool) {
	if strings.HasPrefix(line, "connect: (") {
		return said{source: Python, what: begins}, true
	}
	if text, ok := strings.CutPrefix(line, "send: "); ok {
		octets, ok := unquotePython(text)
		if before, isText := strings.CutSuffix(octets, ".\r\n"); isText && strings.Contains(before, "\r\n") {
			return said{source: Python, side: transcript.Client, octets: int64(len(before)), whole: before}, ok
		}
		return said{source: Python, side: transcript.Client, text: strings.TrimRight(octets, "\r\n")}, ok
	}
	text, ok := strings.CutPrefix(line, "reply: ")
	if !ok || strings.HasPrefix(text, "retcode ") {
		return said{}, false
	}
	octets, ok := unquotePython(text)
	return said{source: Python, side: transcript.Server, text: strings.TrimRight(octets, "\r\n")}, ok
}

// unquotePython returns the value of a Python string literal.
func unquotePython(text string) (string, bool) {
	text = strings.TrimPrefix(text, "b")
	if len(text) < 2 || text[0] != text[len(text)-1] || text[0] != '\'' && text[0] != '"' {
		return "", false
	}
	quote, rest := text[0], text[1:len(text)-1]
	var b strings.Builder
	for rest != "" {
		r, wide, tail, err := strconv.UnquoteChar(rest, quote)
		switch {
		case err != nil && len(rest) > 1 && rest[0] == '\\': // a quote of the other kind
			b.WriteByte(rest[1])
			rest = rest[2:]
			continue
		case err != nil:
			return "", false
		case wide:
			b.WriteRune(r)
		default:
			b.WriteByte(byte(r))
		}
		rest = tail
	}
	return b.String(), true
}

// parseSwaks parses a line of swaks, after its hint of what the line is (swaks(1),
// OUTPUT).
func parseSwaks(line string) (said, bool) {
	for _, hint := range []struct {
		text string
		side transcript.Side
	}{
		{"<-  ", transcript.Server}, {"<~  ", transcript.Server}, {"<** ", transcript.Server}, {"<~* ", transcript.Server},
		{" -> ", transcript.Client}, {" ~> ", transcript.Client}, {"**> ", transcript.Client}, {"*~> ", transcript.Client},
	} {
		if text, ok := strings.CutPrefix(line, hint.text); ok {
			return said{source: Swaks, side: hint.side, text: text}, true
		}
	}
	return said{}, false
}

func parseSwaksStatus(line string) (said, bool) {
	switch {
	case strings.HasPrefix(line, "=== Connected to "):
		return said{source: Swaks, what: begins}, true
	case strings.HasPrefix(line, "=== Connection closed "):
		return said{source: Swaks, what: ends}, true
	case strings.HasPrefix(line, "*** Remote host closed connection"):
		return said{source: Swaks, what: lost}, true
	}
	return said{}, false
}

// parseCurlStatus parses a status line of curl (curl(1), --verbose).
func parseCurlStatus(line string) (said, bool) {
	switch {
	case strings.HasPrefix(line, "* Connected to "):
		return said{source: Curl, what: begins}, true
	case strings.HasPrefix(line, "* response reading failed"):
		return said{source: Curl, what: lost}, true
	case strings.HasPrefix(line, "* Connection #"), strings.HasPrefix(line, "* Closing connection"):
		return said{source: Curl, what: ends}, true
	}
	return said{}, false
}

var curlData = regexp.MustCompile(`^\} \[([0-9]{1,12}) bytes data\]$`)

func parseCurlData(line string) (said, bool) {
	m := curlData.FindStringSubmatch(line)
	if m == nil {
		return said{}, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return said{source: Curl, side: transcript.Client, octets: n}, err == nil
}

package dialogues

import (
	"strconv"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A w3c parses the log of the SMTP service of IIS in the W3C extended format, as also
// written by Exchange 2000 and 2003 (learn.microsoft.com, "Log Formats" of Windows Server
// 2003; the format is www.w3.org/TR/WD-logfile). A plus stands for a blank, and "-" for
// an empty field.
//
// For a client, the log has the command and only the code of the reply. For the service
// as a client of another server, it has the command and the first line of the reply.
// Sessions have no number, so those of one address at one time are taken for one.
type w3c struct {
	at map[string]int // the index of each column; nil: the file has not named them yet
}

// directive parses a line that names the columns, and reports whether the line is one.
func (w *w3c) directive(line string) bool {
	list, ok := strings.CutPrefix(line, "#Fields: ")
	if !ok {
		return false
	}
	w.at = map[string]int{}
	for i, name := range strings.Fields(list) {
		w.at[name] = i
	}
	if _, ok := w.at["cs-method"]; !ok {
		w.at = nil // from another program
	}
	return true
}

// The values of cs-username for lines in which the service is the client.
const (
	outCommand = "OutboundConnectionCommand"
	outReply   = "OutboundConnectionResponse"
)

// notLogged replaces the text of a reply whose code alone was logged.
const notLogged = " a text that was not logged"

// parse parses a line. It returns two lines of the dialogue if the log has one line for a
// command and its reply.
func (w *w3c) parse(line string) []said {
	if w.at == nil || strings.HasPrefix(line, "#") {
		return nil
	}
	fields := strings.Fields(line)
	field := func(name string) string {
		if i, ok := w.at[name]; ok && i < len(fields) && fields[i] != "-" {
			return fields[i]
		}
		return ""
	}
	verb, rest, ip := field("cs-method"), strings.TrimSpace(unplus(field("cs-uri-query"))), field("c-ip")
	switch field("cs-username") {
	case outCommand:
		return []said{{source: IIS, key: "to " + ip, side: transcript.Client, text: strings.TrimSpace(verb + " " + rest)}}
	case outReply:
		if !isReply(rest) {
			return nil
		}
		if len(rest) > 3 { // the log has a line for each of them
			rest = rest[:3] + " " + rest[4:]
		}
		return []said{{source: IIS, key: "to " + ip, side: transcript.Server, text: rest}}
	}
	v := rewrite.ParseVerb([]byte(verb))
	if v == rewrite.VerbOther {
		return nil // from a web server, or a note of the service
	}
	from := said{source: IIS, key: "from " + ip, side: transcript.Client}
	command, reply := from, from
	reply.side = transcript.Server
	status := field("sc-status")
	command.text = strings.TrimSpace(verb + " " + rest)
	switch {
	case v == rewrite.VerbQUIT:
		command.text, status = verb, "221" // for QUIT the log has a number of its own
	case v == rewrite.VerbDATA && strings.HasPrefix(rest, "<") && isReply(status): // the name of a message that the service has accepted
		command.text = verb
		begins, text := reply, from
		begins.text = "354" + notLogged
		text.octets, _ = strconv.ParseInt(field("cs-bytes"), 10, 64)
		text.octets = max(text.octets, 1)
		reply.text = w.reply(status, fields)
		return []said{command, begins, text, reply}
	}
	if !isReply(status) {
		return []said{command}
	}
	reply.text = w.reply(status, fields)
	return []said{command, reply}
}

// reply returns the reply with this code. Exchange logs the text of a refusal in a column
// for web servers.
func (w *w3c) reply(status string, fields []string) string {
	for _, f := range fields {
		if strings.HasPrefix(f, status+"+") {
			return unplus(f)
		}
	}
	return status + notLogged
}

// unplus replaces plus signs by blanks, except in addresses.
func unplus(text string) string {
	b, inside := []byte(text), false
	for i, c := range b {
		switch {
		case c == '<', c == '>':
			inside = c == '<'
		case c == '+' && !inside:
			b[i] = ' '
		}
	}
	return string(b)
}

// anotherHello reports whether a session without a greeting in its log has ended, because
// its client says hello after a transaction.
func (s *session) anotherHello(text string) bool {
	return s.d.Source == IIS && !s.d.Greeted && s.mailed && hellos.Has(rewrite.ParseVerb([]byte(text)))
}

var hellos = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbHELO)

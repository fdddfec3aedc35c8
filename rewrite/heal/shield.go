package heal

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"smtpshim/rewrite"
)

func shield() rewrite.Rule {
	return rewrite.Rule{
		Name:  "shield",
		Heals: "old servers that a long name, address, verb or header field, or an odd character in one, crashes or misleads",
		Doc: "If something exceeds a limit, the rule refuses it before the server gets it, and names the limit in its reply. The defaults " +
			"are lengths that RFC 5321 requires servers to accept, or more, and that no mail exceeds. The sets of products have others, " +
			"from the advisories for these products. If the rule checks a header, it hides BDAT. Some faults need no rule: XEXCH50 never " +
			"passes (MS03-046), nor does a BDAT that cannot be read, and the server gets the proxy's address and name, not the client's " +
			"(MS02-037), unless `source` or XCLIENT says otherwise.",
		Symptoms: []string{"msexcimc.exe - Application Error"},
		Source: "KB Q169174 and KB822992 (path, Subject); KB Q188341 (AUTH); KB Q166570 (wrong addresses); KB Q239816 (characters of the Subject); MS02-037; MS03-046; " +
			"CVE-1999-0284, CVE-1999-1012, SAFER 010123.EXP.1.10, CVE-2000-1203 (Domino); CVE-1999-0203 (Sendmail); RFC 5321, 4.5.3.1",
		Entries: []string{"L121"},
		Options: []rewrite.Option{
			{Name: "hello_length", Default: int64(255), Most: 4096, Doc: "octets of the name in EHLO or HELO; 0: no limit"},
			{Name: "path_length", Default: int64(512), Most: 4096, Doc: "octets of an address in MAIL, RCPT, VRFY or EXPN; 0: no limit"},
			{Name: "path_characters", Default: "", Doc: "characters that no address may have, as in \"|\"; control characters never may"},
			{Name: "malformed", Default: "pass", Values: []string{"pass", "refuse"},
				Doc: "what is no address, in MAIL or RCPT; what `tidy-commands` can make one passes"},
			{Name: "loopback", Default: "pass", Values: []string{"pass", "refuse"}, Doc: "senders at an address of 127.0.0.0/8 in brackets"},
			{Name: "verb_length", Default: int64(32), Most: 4096, Doc: "octets of the first word of an unknown command; 0: no limit"},
			{Name: "auth_length", Default: int64(0), Most: 12288, Doc: "octets of a line of AUTH, and of those within its exchange; 0: no limit"},
			{Name: "refused_recipients", Default: int64(0), Most: 1000, Doc: "how many recipients of a message may be refused before the others get 452; 0: any number"},
			{Name: "subject_length", Default: int64(0), Most: 1 << 20, Doc: "octets of the field Subject with its name; 0: no limit"},
			{Name: "subject_characters", Default: "", Doc: "characters that no Subject may have; ordinary mail may have them"},
			{Name: "field_length", Default: int64(0), Most: 1 << 20, Doc: "octets of any field of the header with its name; 0: no limit"},
			{Name: "header_length", Default: int64(0), Most: 1 << 30, Doc: "octets of the whole header; 0: no limit"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			s := shieldLimits{
				hello: o.Number("hello_length"), path: o.Number("path_length"), verb: o.Number("verb_length"), auth: o.Number("auth_length"),
				refused: o.Number("refused_recipients"), characters: o.Text("path_characters"), refusesLoopback: o.Text("loopback") == "refuse",
				refusesMalformed: o.Text("malformed") == "refuse",
				header: headerLimits{subject: o.Number("subject_length"), field: o.Number("field_length"), all: o.Number("header_length"),
					characters: o.Text("subject_characters")},
			}
			if at := strings.IndexAny(s.characters, "<>@"); at >= 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "path_characters",
					Err: fmt.Errorf("%q has %q in it, which every address has; leave it out", s.characters, s.characters[at:at+1])}
			}
			return s.actions(), nil
		},
	}
}

// shieldLimits are the options of shield. A limit of 0 is none.
type shieldLimits struct {
	hello, path, verb, auth, refused int64
	characters                       string
	refusesLoopback                  bool
	refusesMalformed                 bool
	header                           headerLimits
}

func (s *shieldLimits) actions() rewrite.Actions {
	a := rewrite.Actions{
		Commands: hellos | rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT,
			rewrite.VerbVRFY, rewrite.VerbEXPN, rewrite.VerbOther),
		Command: s.command,
	}
	if s.auth > 0 {
		a.Commands |= logins
		a.SASL = s.sasl
	}
	if s.header != (headerLimits{}) {
		a.Offer, a.Message = hideChunking, s.header.begin
	}
	return a
}

// over reports whether octets exceed limit.
func over(octets int, limit int64) bool { return limit > 0 && int64(octets) > limit }

func refuse(t *rewrite.Turn, code int, format string, args ...any) {
	t.Answer(rewrite.Reply{Code: code, Lines: []string{fmt.Sprintf(format, args...)}})
}

func (s *shieldLimits) command(t *rewrite.Turn) {
	switch v := t.Verb(); v {
	case rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO:
		name := rewrite.Argument(t.Line())
		if over(len(name), s.hello) {
			refuse(t, 501, "5.5.4 a name of %d octets, and the server may see %d", len(name), s.hello)
		} else if hasControl(name) {
			refuse(t, 501, "5.5.4 a control character is in the name")
		}
	case rewrite.VerbMAIL:
		s.address(t, "5.1.7")
	case rewrite.VerbRCPT:
		if refused := t.Recipients().Refused; s.refused > 0 && int64(refused) >= s.refused {
			refuse(t, 452, "4.5.3 %d recipients of this message were refused, send it to the others in another", refused)
			return
		}
		s.address(t, "5.1.3")
	case rewrite.VerbVRFY, rewrite.VerbEXPN:
		s.address(t, "5.1.3")
	case rewrite.VerbOther:
		word, _, _ := bytes.Cut(bytes.TrimLeft(t.Line(), blanks), []byte(" "))
		if over(len(word), s.verb) {
			refuse(t, 500, "5.5.2 a verb of %d octets, and the server may see %d", len(word), s.verb)
		}
	default:
		s.sasl(t)
	}
}

// sasl refuses an AUTH command, or a line in its exchange, that is too long. The reply
// does not repeat it.
func (s *shieldLimits) sasl(t *rewrite.Turn) {
	if over(len(t.Line()), s.auth) {
		refuse(t, 500, "5.5.6 a line of %d octets, and the server may see %d", len(t.Line()), s.auth) // RFC 4954, 4
	}
}

// address refuses a command because of its address. Most lines are so short and plain
// that the address need not be parsed.
func (s *shieldLimits) address(t *rewrite.Turn, status string) {
	line := t.Line()
	mayBeOdd := hasControl(line) || s.characters != "" && bytes.ContainsAny(line, s.characters) ||
		s.refusesLoopback && t.Verb() == rewrite.VerbMAIL && bytes.Contains(line, []byte("[127."))
	if !over(len(line), s.path) && !mayBeOdd {
		s.form(t, status)
		return
	}
	address := string(rewrite.Argument(line)) // all of it, if it is not clear which part is the address
	if path, ok := t.Path(); ok {
		address = path.Address
	}
	switch {
	case over(len(address), s.path):
		refuse(t, 501, "%s an address of %d octets, and the server may see %d", status, len(address), s.path)
	case hasControl([]byte(address)):
		refuse(t, 501, "%s a control character is in the address", status)
	case strings.ContainsAny(address, s.characters):
		refuse(t, 501, "%s a character is in the address that the server must not see", status)
	case s.refusesLoopback && t.Verb() == rewrite.VerbMAIL && isAtLoopback(address):
		refuse(t, 501, "%s the sender is at the server itself, by a loopback address", status)
	default:
		s.form(t, status)
	}
}

// form refuses a MAIL or RCPT without a valid address. 553 refuses the syntax of a
// mailbox (RFC 5321, 4.2.2).
func (s *shieldLimits) form(t *rewrite.Turn, status string) {
	if s.refusesMalformed && (t.Verb() == rewrite.VerbMAIL || t.Verb() == rewrite.VerbRCPT) && !hasAddress(t.Verb(), t.Line()) {
		refuse(t, 553, "%s this is no address, and the server must not see it", status)
	}
}

// hasControl reports whether text has a control character other than TAB.
func hasControl(text []byte) bool {
	for _, c := range text {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// isAtLoopback reports whether the domain of an address is an address literal of
// 127.0.0.0/8 (RFC 5321, 4.1.3).
func isAtLoopback(address string) bool {
	domain := strings.TrimSuffix(address[strings.LastIndexByte(address, '@')+1:], ">")
	literal, found := strings.CutPrefix(domain, "[")
	literal, closed := strings.CutSuffix(literal, "]")
	ip, err := netip.ParseAddr(literal)
	return found && closed && err == nil && ip.Is4() && ip.IsLoopback()
}

// headerLimits are the limits of a header, in octets; 0: none.
type headerLimits struct {
	subject, field, all int64
	characters          string // characters that a Subject must not have
}

const subjectName = "subject:"

// begin returns the filter for one message.
func (h headerLimits) begin(*rewrite.Text) rewrite.Filter {
	var (
		name       = make([]byte, 0, len(subjectName)) // the beginning of the present field
		field, all int
		midLine    bool
	)
	return rewrite.Filter{Text: func(m *rewrite.Text, _, src []byte) []byte {
		if m.Body() {
			return src
		}
		for rest := src; len(rest) > 0; {
			n := bytes.IndexByte(rest, '\n') + 1
			ends := n > 0
			if !ends {
				n = len(rest)
			}
			part := rest[:n]
			if !midLine && part[0] != ' ' && part[0] != '\t' { // not the continuation of a field (RFC 5322, 2.2.3)
				name, field = name[:0], 0
			}
			ofName := min(len(part), cap(name)-len(name))
			name = append(name, part[:ofName]...)
			isSubject := strings.EqualFold(string(name), subjectName)
			field, all, midLine, rest = field+len(bytes.TrimRight(part, "\r\n")), all+n, !ends, rest[n:]
			switch {
			case isSubject && bytes.ContainsAny(part[ofName:], h.characters):
				m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.0 a character is in the Subject that the server must not see"}})
			case isSubject && over(field, h.subject):
				m.Refuse(rewrite.Reply{Code: 554, Lines: []string{fmt.Sprintf("5.6.0 the Subject has more than %d octets", h.subject)}})
			case over(field, h.field):
				m.Refuse(rewrite.Reply{Code: 554, Lines: []string{fmt.Sprintf("5.6.0 a field of the header has more than %d octets", h.field)}})
			case over(all, h.all):
				m.Refuse(rewrite.Reply{Code: 554, Lines: []string{fmt.Sprintf("5.6.0 the header has more than %d octets", h.all)}})
			}
		}
		return src
	}}
}

// shieldsExchange50 returns options against KB Q169174, KB Q188341 and KB Q166570; the
// first and the last are about malformed addresses. No source says how long an AUTH line,
// and how many refused recipients, are harmless. The limits admit the lines of NTLM and
// the mistakes of most users.
func shieldsExchange50() map[string]any {
	return map[string]any{"auth_length": int64(1024), "refused_recipients": int64(50), "malformed": "refuse"}
}

// shieldsExchange55 returns options against KB Q188341 and KB822992.
func shieldsExchange55() map[string]any {
	return map[string]any{"auth_length": int64(1024), "subject_length": int64(1000)}
}

// shieldsDomino5 returns options against CVE-1999-0284, CVE-1999-1012, SAFER
// 010123.EXP.1.10 and CVE-2000-1203. A path may have 256 octets (RFC 5321, 4.5.3.1.3).
func shieldsDomino5() map[string]any {
	return map[string]any{"path_length": int64(256), "loopback": "refuse"}
}

// shieldsSendmail86 returns options against CVE-1999-0203, in which an address names a
// program.
func shieldsSendmail86() map[string]any { return map[string]any{"path_characters": "|"} }

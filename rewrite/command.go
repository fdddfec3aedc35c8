package rewrite

import (
	"bytes"
	"strings"
)

// A Verb is the first word of a command. All verbs that the program does not know are
// VerbOther. VerbGreeting and VerbMessage stand for two events that are not commands,
// but that the server answers too.
type Verb uint8

const (
	VerbOther    Verb = iota
	VerbGreeting      // stands for the connection, whose reply is the server's greeting
	VerbMessage       // stands for the end of a message, sent by DATA or BDAT LAST
	VerbEHLO
	VerbHELO
	VerbLHLO // the hello of LMTP (RFC 2033)
	VerbSTARTTLS
	VerbAnonymousTLS // X-ANONYMOUSTLS, by which Exchange begins TLS
	VerbAUTH
	VerbXAUTH
	VerbXEXPS // X-EXPS, a login of Exchange like AUTH
	VerbMAIL
	VerbRCPT
	VerbDATA
	VerbBDAT
	VerbRSET
	VerbNOOP
	VerbQUIT
	VerbVRFY
	VerbEXPN
	VerbHELP
	VerbETRN
	VerbTURN
	VerbATRN
	VerbXCLIENT
	VerbXFORWARD
	VerbPROXY
	VerbXEXCH50
	VerbXLINK2STATE // X-LINK2STATE, between servers of Exchange
	verbs
)

var verbNames = [verbs]string{
	"other", "greeting", "end-of-data", "EHLO", "HELO", "LHLO", "STARTTLS", "X-ANONYMOUSTLS", "AUTH", "XAUTH", "X-EXPS",
	"MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "ETRN", "TURN", "ATRN",
	"XCLIENT", "XFORWARD", "PROXY", "XEXCH50", "X-LINK2STATE",
}

// String returns the verb in upper case, as in a command. For VerbOther, VerbGreeting
// and VerbMessage it returns "other", "greeting" and "end-of-data".
func (v Verb) String() string { return verbNames[v] }

// VerbNames returns every name that String can return.
func VerbNames() []string { return append([]string(nil), verbNames[:]...) }

// A VerbSet is a set of verbs, made by SetOf. The operator | unites two of them. The
// zero VerbSet is empty.
type VerbSet uint32

// SetOf returns the set of the verbs vs.
func SetOf(vs ...Verb) VerbSet {
	var s VerbSet
	for _, v := range vs {
		s |= 1 << v
	}
	return s
}

// Has reports whether v is in s.
func (s VerbSet) Has(v Verb) bool { return s&(1<<v) != 0 }

// String returns the names of the verbs in s, in the order of the constants, separated
// by a comma and a blank.
func (s VerbSet) String() string {
	var names []string
	for v := range Verb(verbs) {
		if s.Has(v) {
			names = append(names, v.String())
		}
	}
	return strings.Join(names, ", ")
}

// EveryVerb is the set of all verbs, including VerbGreeting and VerbMessage.
const EveryVerb = VerbSet(1<<verbs - 1)

// BeforeHello is a set of commands. While a client must repeat its hello, as after its
// TLS handshake, it may send no others, unless a rule sends the hello first. Under
// ClientTLSRequire, the client may send no others before TLS either (RFC 3207, 4).
const BeforeHello = VerbSet(1<<VerbEHLO | 1<<VerbHELO | 1<<VerbLHLO | 1<<VerbNOOP | 1<<VerbRSET | 1<<VerbQUIT | 1<<VerbSTARTTLS | 1<<VerbHELP)

var (
	// uncarried is the set of commands that are never sent on: they swap the roles of
	// client and server, make the server trust our address, or announce octets that we
	// cannot count (LEGACY.md: L54, and Microsoft's own commands).
	uncarried = SetOf(VerbTURN, VerbATRN, VerbXCLIENT, VerbXFORWARD, VerbPROXY, VerbXEXCH50, VerbXLINK2STATE)
	// groupable is the set of commands behind which a group may continue (RFC 2920, 3.1).
	groupable = SetOf(VerbMAIL, VerbRCPT, VerbRSET)
	// joining is the set of commands that may be sent before earlier ones are answered.
	// Of a group that ends with QUIT, some servers discard everything but the QUIT
	// (Exchange 2010 SP1). Its positive reply, like one to NOOP or VRFY, would pass for
	// the reply to the first command of the group. A reply to DATA would not.
	joining = groupable | SetOf(VerbDATA)
	sasl    = SetOf(VerbAUTH, VerbXAUTH, VerbXEXPS)
	hello   = SetOf(VerbEHLO, VerbHELO, VerbLHLO)
	esmtp   = SetOf(VerbEHLO, VerbLHLO) // their replies list keywords
	// alone is the set of commands after which nothing may be sent until the engine or a
	// rule has seen the reply.
	alone = hello | sasl | SetOf(VerbSTARTTLS, VerbAnonymousTLS)
)

// ParseVerb returns the verb of line, a command without CRLF; VerbOther if it is not
// known. A blank, "=" or ":" ends the verb. ParseVerb ignores case and leading blanks,
// as lenient servers do (RFC 5321, 2.4 and 4.1.1).
func ParseVerb(line []byte) Verb {
	start := 0
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	end := start
	for end < len(line) && !isBlank(line[end]) && line[end] != '=' && line[end] != ':' {
		end++
	}
	var word [maxVerb]byte
	if end-start > len(word) {
		return VerbOther
	}
	for i, c := range line[start:end] {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		word[i] = c
	}
	return verbNamed(word[:end-start])
}

const maxVerb = len("X-ANONYMOUSTLS") // the longest name of a verb

// verbNamed returns the verb with this name, which is in upper case.
func verbNamed(name []byte) Verb {
	switch string(name) {
	case "EHLO":
		return VerbEHLO
	case "HELO":
		return VerbHELO
	case "LHLO":
		return VerbLHLO
	case "STARTTLS":
		return VerbSTARTTLS
	case "X-ANONYMOUSTLS":
		return VerbAnonymousTLS
	case "AUTH":
		return VerbAUTH
	case "XAUTH":
		return VerbXAUTH
	case "X-EXPS":
		return VerbXEXPS
	case "MAIL":
		return VerbMAIL
	case "RCPT":
		return VerbRCPT
	case "DATA":
		return VerbDATA
	case "BDAT":
		return VerbBDAT
	case "RSET":
		return VerbRSET
	case "NOOP":
		return VerbNOOP
	case "QUIT":
		return VerbQUIT
	case "VRFY":
		return VerbVRFY
	case "EXPN":
		return VerbEXPN
	case "HELP":
		return VerbHELP
	case "ETRN":
		return VerbETRN
	case "TURN":
		return VerbTURN
	case "ATRN":
		return VerbATRN
	case "XCLIENT":
		return VerbXCLIENT
	case "XFORWARD":
		return VerbXFORWARD
	case "PROXY":
		return VerbPROXY
	case "XEXCH50":
		return VerbXEXCH50
	case "X-LINK2STATE":
		return VerbXLINK2STATE
	}
	return VerbOther
}

// foldEqual reports whether b equals upper, ignoring case. upper must be in upper case.
func foldEqual[T string | []byte](b T, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// Argument returns what follows the verb in line, a command without CRLF. A blank, "="
// or ":" ends the verb. The result has no leading or trailing blanks; it is empty if
// nothing follows.
func Argument(line []byte) []byte {
	line = bytes.TrimLeft(line, blanks)
	i := bytes.IndexAny(line, blanks+"=:")
	if i < 0 {
		return nil
	}
	return bytes.Trim(line[i+1:], blanks)
}

// cutCRLF returns raw without its CRLF. ok reports whether raw is a well-formed line: it
// ends with CRLF and has no other CR or LF, and no NUL (RFC 5321, 2.3.8).
func cutCRLF(raw []byte) (line []byte, ok bool) {
	line, ok = bytes.CutSuffix(raw, crlf)
	return line, ok && isLine(line)
}

var crlf = []byte("\r\n")

const blanks = " \t\v\f"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\v' || c == '\f' }

func isLine(b []byte) bool {
	return bytes.IndexByte(b, '\r') < 0 && bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, 0) < 0
}

// parseChunk parses the argument of BDAT: digits, then LAST or nothing (RFC 3030, 2). It
// is strict, because the server might count differently and read octets of the chunk as
// commands. For the same reason it refuses a size that does not fit in 32 bits.
func parseChunk(line []byte) (size int64, last, ok bool) {
	const verb = "BDAT "
	if len(line) <= len(verb) || line[4] != ' ' {
		return 0, false, false
	}
	rest := line[len(verb):]
	i := 0
	for ; i < len(rest) && '0' <= rest[i] && rest[i] <= '9'; i++ {
		if size = size*10 + int64(rest[i]-'0'); size > 1<<31-1 {
			return 0, false, false
		}
	}
	if i == 0 {
		return 0, false, false
	}
	if i == len(rest) {
		return size, false, true
	}
	return size, true, foldEqual(rest[i:], " LAST")
}

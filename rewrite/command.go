package rewrite

import "bytes"

// A Verb is the first word of a command. Verbs that no part of the program
// speaks about are one: VerbOther.
type Verb uint8

const (
	VerbOther    Verb = iota
	VerbGreeting      // not a command: what the server's greeting answers
	VerbMessage       // not a command: what the answer to the end of a message answers
	VerbEHLO
	VerbHELO
	VerbSTARTTLS
	VerbAnonymousTLS // X-ANONYMOUSTLS
	VerbAUTH
	VerbXAUTH
	VerbXEXPS // X-EXPS
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
	VerbXLINK2STATE // X-LINK2STATE
	verbs
)

var verbNames = [verbs]string{
	"other", "greeting", "end-of-data", "EHLO", "HELO", "STARTTLS", "X-ANONYMOUSTLS", "AUTH", "XAUTH", "X-EXPS",
	"MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "ETRN", "TURN", "ATRN",
	"XCLIENT", "XFORWARD", "PROXY", "XEXCH50", "X-LINK2STATE",
}

// String gives the verb as it is written, or "other", "greeting", "end-of-data".
func (v Verb) String() string { return verbNames[v] }

// Verbs lists every name that String can give.
func Verbs() []string { return append([]string(nil), verbNames[:]...) }

// A verbSet is a set of verbs.
type verbSet uint32

func setOf(vs ...Verb) verbSet {
	var s verbSet
	for _, v := range vs {
		s |= 1 << v
	}
	return s
}

func (s verbSet) has(v Verb) bool { return s&(1<<v) != 0 }

const everyVerb = verbSet(1<<verbs - 1)

var (
	// What swaps the roles, makes the server trust our address, or carries a
	// payload that we cannot count (LEGACY: TURN, XCLIENT, XEXCH50).
	uncarried = setOf(VerbTURN, VerbATRN, VerbXCLIENT, VerbXFORWARD, VerbPROXY, VerbXEXCH50, VerbXLINK2STATE)
	// What a group may go on behind (RFC 2920, 3.1).
	groupable = setOf(VerbMAIL, VerbRCPT, VerbRSET)
	// What may be said between a handshake and EHLO, and without TLS where it is required (RFC 3207, 4).
	beforeHello = setOf(VerbEHLO, VerbHELO, VerbNOOP, VerbRSET, VerbQUIT, VerbSTARTTLS, VerbHELP)
	sasl        = setOf(VerbAUTH, VerbXAUTH, VerbXEXPS)
	hello       = setOf(VerbEHLO, VerbHELO)
	// What is always alone on its way: the engine or a rule has to see the answer first.
	alone = hello | sasl | setOf(VerbSTARTTLS, VerbAnonymousTLS)
)

// parseVerb finds the verb of a command line in any case, behind blanks or not:
// lenient servers read it so (RFC 5321, 2.4 and 4.1.1).
func parseVerb(line []byte) Verb {
	start := 0
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	end := start
	for end < len(line) && !isBlank(line[end]) && line[end] != '=' && line[end] != ':' {
		end++
	}
	var word [len("X-ANONYMOUSTLS")]byte // the longest
	if end-start > len(word) {
		return VerbOther
	}
	for i, c := range line[start:end] {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		word[i] = c
	}
	return verbOf[string(word[:end-start])]
}

// verbOf finds a verb by its name.
var verbOf = func() map[string]Verb {
	of := map[string]Verb{}
	for v := VerbEHLO; v < verbs; v++ {
		of[verbNames[v]] = v
	}
	return of
}()

// foldEqual compares without regard to case; upper is in upper case already.
func foldEqual(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// argument is what stands behind the verb, without blanks at its ends.
func argument(line []byte) []byte {
	line = bytes.TrimLeft(line, blanks)
	i := bytes.IndexAny(line, blanks+"=")
	if i < 0 {
		return nil
	}
	return bytes.Trim(line[i+1:], blanks)
}

// cutCRLF gives the line without its end, and whether it is a line: ended by
// CRLF, and without CR, LF or NUL in it (RFC 5321, 2.3.8).
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

// parseChunk reads the argument of BDAT strictly: digits, and LAST or nothing
// (RFC 3030, 2). What is lenient here is a hole: two readers would count
// differently, and so they would beyond what 32 bits hold.
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

package heal

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"smtpshim/rewrite"
)

func fixHelloName() rewrite.Rule {
	return rewrite.Rule{
		Name:  "fix-hello-name",
		Heals: "servers that refuse the name in HELO or EHLO: a dot at its end, underscores, bare addresses, none",
		Doc: "IIS 4 and 5 and MCIS 2 answer `EHLO sub2.` with 501 Invalid Address, and HELO likewise, and no mail passes. Other servers " +
			"refuse underscores, an address without brackets, blanks, or an empty argument. At first the name passes unchanged. Once " +
			"this server has refused it, the rule sends EHLO again with a mended name: it removes dots at the end and blanks, changes " +
			"underscores to hyphens, puts an address in brackets, and changes a name with letters beyond ASCII to its A-label. A name " +
			"that is missing or cannot be mended becomes the option `name` or the client's address, and so do localhost and 127.0.0.1 if " +
			"the server refuses them. The rule remembers for a day what a server refuses, and mends that at once; it recognises IIS 4 " +
			"and 5 and MCIS 2 by their greeting.",
		Symptoms: []string{"501 Invalid Address", "501 syntactically invalid HELO argument(s)", "syntactically invalid argument(s)",
			"501 5.5.4 Empty HELO/EHLO argument not allowed, closing connection.", "501 EHLO requires a valid host name as operand", "552 Invalid domain name in HELO command",
			"501 5.5.4 Invalid domain name", "501 5.5.4 Invalid command arguments: Invalid domain name", "550 5.5.0 Invalid EHLO/HELO domain", "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
			"421-4.7.0 Try again later, closing connection. (EHLO)", "HELO/EHLO argument \"example.com\" invalid, closing connection.",
			"Helo command rejected: Invalid name", "Helo command rejected: Host not found"},
		Source: "KB Q240832; KB186142; RFC 5321, 4.1.1.1 and 4.1.3; RFC 5890, 2.3.2.1; Microsoft, Use Telnet to test SMTP communication (bb123686); " +
			"github.com/nodemailer/nodemailer/issues/1742; github.com/sabuhish/fastapi-mail/issues/205; github.com/OpenSMTPD/OpenSMTPD/issues/1054; " +
			"github.com/AfterShip/email-verifier/issues/52; github.com/zone-eu/zone-mta/issues/162",
		Entries: []string{"L03", "L25"},
		Options: []rewrite.Option{
			{Name: "name", Default: "", Doc: "sent at once in place of a name that is missing, cannot be mended, or is localhost; default: the client's address, once the server has refused the name"},
			{Name: "domain", Default: "", Doc: "appended at once to a name of one label: \"example.com\" makes sub2.example.com of sub2"},
			{Name: "map", Default: map[string]string{}, Doc: `names replaced at once by others, compared without regard to case, as in { "sub2" = "mail.example.com" }`},
			{Name: "when", Default: "refused", Values: []string{"refused", "always"},
				Doc: "\"refused\": mend a name once this server has refused one like it; \"always\": mend every name before the server sees it"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			f := helloNames{name: o.Text("name"), domain: strings.Trim(o.Text("domain"), "."), replace: map[string]string{},
				always: o.Text("when") == "always"}
			if f.name != "" && !isHelloName(f.name) {
				return rewrite.Actions{}, notHelloName("name", f.name)
			}
			if f.domain != "" && !isDomain(f.domain) {
				return rewrite.Actions{}, notHelloName("domain", f.domain)
			}
			for from, to := range o.Table("map") {
				if !isHelloName(to) {
					return rewrite.Actions{}, notHelloName("map", to)
				}
				f.replace[strings.ToLower(from)] = to
			}
			return rewrite.Actions{
				State:   func() any { return new(helloState) },
				Command: f.fix, Commands: hellos,
				Reply: f.hear, Replies: hellos | rewrite.SetOf(rewrite.VerbGreeting),
			}, nil
		},
	}
}

func notHelloName(option, value string) *rewrite.ConfigError {
	return &rewrite.ConfigError{Option: option, Err: &invalidName{value}}
}

type invalidName struct{ name string }

func (e *invalidName) Error() string {
	return fmt.Sprintf("%q is not a name for EHLO; write a domain name, or an address in brackets such as [192.0.2.1]", e.name)
}

// helloNames corrects the argument of HELO and EHLO.
type helloNames struct {
	name, domain string
	replace      map[string]string
	always       bool
}

// A helloState is what a session knows about names that its server refuses.
type helloState struct {
	product bool     // the greeting is that of a product that refuses such names
	refused []string // faults of names that the server refuses and, once corrected, accepts
	tried   string   // the fault of a refused name, while the corrected name awaits a reply
}

// fix corrects the name before the server sees it, if the configuration asks for that or
// the server is known to refuse such names.
func (f *helloNames) fix(t *rewrite.Turn) {
	state, line := t.State().(*helloState), string(t.Line())
	state.tried = ""
	fixed, fault, wished := f.mend(line, t.Session)
	if fixed == line {
		return
	}
	if wished || (f.always || state.product) && fault != loopbackFault || slices.Contains(state.refused, fault) || t.Remembers(fault) {
		t.SetLine(fixed)
	}
}

// hear looks in the greeting and in replies to EHLO and HELO for signs that the server
// refuses a name. If it does, hear sends the hello again with a corrected name.
func (f *helloNames) hear(t *rewrite.Turn) {
	state, r := t.State().(*helloState), t.Reply()
	if t.Verb() == rewrite.VerbGreeting {
		state.product = !t.Lost() && refusesNames(r)
		return
	}
	if tried := state.tried; tried != "" {
		if state.tried = ""; !t.Lost() && r.Code < 300 {
			state.refused = append(state.refused, tried)
			t.Remember(tried, dayLong)
			return
		}
	}
	if !t.Lost() && r.Code < 400 {
		return
	}
	fixed, fault, _ := f.mend(string(t.Line()), t.Session)
	if fixed == string(t.Line()) || fault == "" {
		return
	}
	switch {
	case t.Lost():
		if fault == loopbackFault || t.Fresh() > 0 || !t.Untouched() {
			return
		}
		t.AgainAfresh(fixed)
	case !refusesName(r, fault):
		return
	case r.Code == 421: // the server closes the connection (RFC 5321, 3.8)
		if t.Fresh() > 0 || !t.Untouched() {
			return
		}
		t.AgainAfresh(fixed)
	default:
		t.Again(fixed)
	}
	state.tried = fault
}

// refusesNames reports whether a greeting is that of IIS 4 or MCIS 2 (KB Q240832), or of
// IIS 5 (KB254560).
func refusesNames(r *rewrite.Reply) bool {
	text := strings.Join(r.Lines, " ")
	return strings.Contains(text, "Microsoft SMTP MAIL ready") || strings.Contains(text, "Microsoft ESMTP MAIL Service, Version: 5.0.")
}

// refusesName reports whether a reply to EHLO or HELO refuses a name because of this
// fault. If the name is valid, the text of the reply must say so.
func refusesName(r *rewrite.Reply, fault string) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	blamed := blamesArgument(r) || strings.Contains(text, "helo") || strings.Contains(text, "ehlo")
	switch r.Code {
	case 501, 504, 553:
		return fault != loopbackFault || blamed
	case 421, 550, 552, 554: // 552 is Domino's
		return blamed
	case 500:
		return blamesArgument(r)
	}
	return false
}

// The faults of names and lines. A server is remembered for one fault, or for several
// joined with "+".
const (
	blanksFault     = "blanks"
	missingFault    = "missing"
	dotFault        = "dot"
	addressFault    = "address"
	underscoreFault = "underscore"
	lettersFault    = "letters"
	syntaxFault     = "syntax"
	loopbackFault   = "loopback"
)

// mend returns the line of HELO or EHLO with a name that every server must accept. fault
// is what was wrong with the name, "" if nothing was. wished reports whether an option
// asks for the change.
func (f *helloNames) mend(line string, s rewrite.Session) (fixed, fault string, wished bool) {
	verb := strings.TrimLeft(line, blanks)
	verb = verb[:min(len(verb), len("EHLO"))]
	name := strings.TrimLeft(line, blanks)[len(verb):]
	if name != "" && strings.ContainsRune("=:", rune(name[0])) { // "EHLO=name" is EHLO to us
		name = name[1:]
	}
	name = strings.Trim(name, blanks)
	if to, ok := f.replace[strings.ToLower(name)]; ok {
		return verb + " " + to, "", true
	}
	mended, fault := mendName(name)
	if name != "" && mended == name && len(line) == len(verb)+1+len(name) && line[len(verb)] == ' ' && f.qualify(name) == name {
		return line, fault, false // as most are
	}
	if mended == "" {
		mended, wished = f.fallback(s, strings.Contains(fault, loopbackFault)), f.name != ""
	} else if full := f.qualify(mended); full != mended {
		mended, wished = full, true
	}
	if fixed = verb + " " + mended; fault == "" && fixed != line && mended == name {
		fault = blanksFault
	}
	return fixed, fault, wished
}

// mendName returns a name that every server must accept, "" if no correction of this name
// would be one, and the faults of the name. It never removes what distinguishes one host
// from another: "-x-.example" does not become "x.example".
func mendName(name string) (mended, fault string) {
	switch {
	case name == "":
		return "", missingFault
	case isLoopback(name) && isHelloName(name):
		return "", loopbackFault
	case isLoopback(name):
		return "", addressFault + "+" + loopbackFault
	case isHelloName(name):
		return name, ""
	}
	var faults []string
	mended = strings.TrimRight(name, ".")
	if mended != name {
		faults = append(faults, dotFault)
	}
	if literal, ok := addressLiteral(strings.Trim(mended, "[]")); ok {
		return literal, strings.Join(append(faults, addressFault), "+")
	}
	if strings.Contains(mended, "_") {
		mended, faults = strings.ReplaceAll(mended, "_", "-"), append(faults, underscoreFault)
	}
	if !isASCII(mended) {
		label, err := idna.Lookup.ToASCII(mended)
		if err != nil || !utf8.ValidString(mended) {
			return "", syntaxFault
		}
		mended, faults = label, append(faults, lettersFault)
	}
	if !isDomain(mended) {
		return "", syntaxFault
	}
	return mended, strings.Join(faults, "+")
}

func (f *helloNames) qualify(name string) string {
	if f.domain != "" && !strings.ContainsAny(name, ".[") {
		return name + "." + f.domain
	}
	return name
}

// fallback returns the name to use in place of one that cannot be corrected. If the name
// is a loopback name, it returns no other loopback name.
func (f *helloNames) fallback(s rewrite.Session, isLoopback bool) string {
	if f.name != "" {
		return f.name
	}
	if isLoopback && s.Client().Unmap().IsLoopback() {
		return s.Hostname()
	}
	return nameOf(s)
}

// nameOf returns a name for a client that has given none: its address as a literal.
func nameOf(s rewrite.Session) string {
	if literal, ok := addressLiteral(s.Client().String()); ok {
		return literal
	}
	return s.Hostname()
}

// isLoopback reports whether a name, with or without brackets, only means "this host" and
// does not identify it.
func isLoopback(name string) bool {
	switch strings.ToLower(name) {
	case "localhost", "localhost.localdomain", "localhost.local", "localhost.localhost":
		return true
	}
	bare, _ := cutIPv6(strings.Trim(name, "[]"))
	a, ok := parseAddr(bare)
	return ok && a.Unmap().IsLoopback()
}

// parseAddr is netip.ParseAddr without the cost of an error, since most names are no
// addresses.
func parseAddr(s string) (a netip.Addr, ok bool) {
	if s == "" || !isDigit(s[0]) && strings.IndexByte(s, ':') < 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// addressLiteral returns an address in brackets (RFC 5321, 4.1.3).
func addressLiteral(s string) (string, bool) {
	s, _ = cutIPv6(s)
	a, ok := parseAddr(s)
	if !ok {
		return "", false
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return "[" + a.String() + "]", true
	}
	return "[IPv6:" + a.String() + "]", true
}

// isHelloName reports whether s is a valid name for EHLO: a domain or an address literal
// (RFC 5321, 4.1.1.1).
func isHelloName(s string) bool {
	inner, isLiteral := strings.CutPrefix(s, "[")
	if !isLiteral {
		_, isAddr := parseAddr(s)
		return !isAddr && isDomain(s)
	}
	inner, closed := strings.CutSuffix(inner, "]")
	if !closed {
		return false
	}
	bare, is6 := cutIPv6(inner)
	a, ok := parseAddr(bare)
	return ok && a.Is6() == is6 && a.Zone() == ""
}

// cutIPv6 removes the tag of an IPv6 address literal, ignoring case.
func cutIPv6(s string) (bare string, found bool) {
	const tag = "IPv6:"
	if len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		return s[len(tag):], true
	}
	return s, false
}

// isDomain reports whether s is a domain: its labels have letters, digits and hyphens
// (RFC 5321, 4.1.2), and its lengths are within RFC 1035, 2.3.4.
func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

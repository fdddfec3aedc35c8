package heal

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"smtpshim/rewrite"
)

func fixHelloName() rewrite.Rule {
	return rewrite.Rule{
		Name:  "fix-hello-name",
		Heals: "servers that refuse the name in HELO or EHLO: a dot at its end, underscores, bare addresses, none",
		Doc: "IIS 4 and 5 and MCIS 2 answer `EHLO sub2.` with 501 Invalid Address, HELO likewise, and mail stops. " +
			"Others refuse underscores, an address without brackets, blanks, or an empty argument. " +
			"Dots and blanks at the ends go, underscores become hyphens, an address is put in brackets, a name in letters " +
			"beyond ASCII becomes its A-label; no name, or one that cannot be mended, becomes the option `name` or the " +
			"client's address. A name that is right passes as it is.",
		Source:  "KB Q240832; KB186142; RFC 5321, 4.1.1.1 and 4.1.3; RFC 5890, 2.3.2.1",
		Entries: []string{"L03", "L25"},
		Options: []rewrite.Option{
			{Name: "name", Default: "", Doc: "said in place of a name that is missing or cannot be mended; default: the client's address"},
			{Name: "domain", Default: "", Doc: "appended to a name of one label: \"example.com\" makes sub2.example.com of sub2"},
			{Name: "map", Default: map[string]string{}, Doc: "names replaced by others, compared without regard to case"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			f := helloNames{name: o.Text("name"), domain: strings.Trim(o.Text("domain"), "."), replace: map[string]string{}}
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
			return rewrite.Actions{Command: f.fix, Commands: hellos}, nil
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

// helloNames mends the argument of HELO and EHLO.
type helloNames struct {
	name, domain string
	replace      map[string]string
}

func (f *helloNames) fix(t *rewrite.Turn) {
	line := string(t.Line())
	verb := strings.TrimLeft(line, blanks)
	if i := strings.IndexAny(verb, blanks); i >= 0 {
		verb = verb[:i]
	}
	if fixed := verb + " " + f.mend(strings.Trim(strings.TrimLeft(line, blanks)[len(verb):], blanks), t); fixed != line {
		t.SetLine(fixed)
	}
}

// mend gives a name that can be said; one that is right comes back as it is.
func (f *helloNames) mend(name string, t *rewrite.Turn) string {
	if to, ok := f.replace[strings.ToLower(name)]; ok {
		return to
	}
	if isHelloName(name) {
		return f.qualify(name)
	}
	name = strings.TrimRight(name, ".")
	if literal, ok := addressLiteral(strings.Trim(name, "[]")); ok {
		return literal
	}
	mended := strings.ReplaceAll(name, "_", "-")
	if !isASCII(mended) {
		label, err := idna.Lookup.ToASCII(mended)
		if err != nil || !utf8.ValidString(mended) {
			return f.fallback(t)
		}
		mended = label
	}
	labels := strings.Split(mended, ".")
	for i, label := range labels {
		labels[i] = strings.Trim(label, "-")
	}
	if mended = strings.Join(labels, "."); isDomain(mended) {
		return f.qualify(mended)
	}
	return f.fallback(t)
}

func (f *helloNames) qualify(name string) string {
	if f.domain != "" && !strings.ContainsAny(name, ".[") {
		return name + "." + f.domain
	}
	return name
}

func (f *helloNames) fallback(t *rewrite.Turn) string {
	if f.name != "" {
		return f.name
	}
	if literal, ok := addressLiteral(t.Client().String()); ok {
		return literal
	}
	return t.Hostname()
}

// addressLiteral puts an address in brackets (RFC 5321, 4.1.3).
func addressLiteral(s string) (string, bool) {
	s, _ = cutIPv6(s)
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", false
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return "[" + a.String() + "]", true
	}
	return "[IPv6:" + a.String() + "]", true
}

// isHelloName says whether a server has to accept it as it stands: a domain or
// an address literal (RFC 5321, 4.1.1.1).
func isHelloName(s string) bool {
	inner, isLiteral := strings.CutPrefix(s, "[")
	if !isLiteral {
		_, err := netip.ParseAddr(s)
		return err != nil && isDomain(s)
	}
	inner, closed := strings.CutSuffix(inner, "]")
	if !closed {
		return false
	}
	bare, is6 := cutIPv6(inner)
	a, err := netip.ParseAddr(bare)
	return err == nil && a.Is6() == is6 && a.Zone() == ""
}

// cutIPv6 takes the tag off an IPv6 address literal, in any case.
func cutIPv6(s string) (bare string, found bool) {
	const tag = "IPv6:"
	if len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		return s[len(tag):], true
	}
	return s, false
}

// isDomain checks letters, digits and hyphens in labels (RFC 5321, 4.1.2), and
// the lengths of RFC 1035, 2.3.4.
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

package probe

import (
	"regexp"
	"slices"
	"strings"
)

// An offer maps the keywords of an EHLO reply, in upper case, to the parameters of each
// of their lines. AUTH=LOGIN is the keyword "AUTH=".
type offer map[string][]string

func offerOf(r reply) offer {
	o := offer{}
	for _, text := range r.texts()[min(1, len(r.lines)):] {
		name, parameters, _ := strings.Cut(strings.TrimSpace(text), " ")
		if before, behind, ok := strings.Cut(name, "="); ok {
			name, parameters = before+"=", strings.TrimSpace(behind+" "+parameters)
		}
		o[strings.ToUpper(name)] = append(o[strings.ToUpper(name)], strings.ToUpper(parameters))
	}
	return o
}

func (o offer) has(keyword string) bool { return o[keyword] != nil }

// mechanism reports whether AUTH or AUTH= lists this mechanism.
func (o offer) mechanism(name string) bool {
	return slices.ContainsFunc(slices.Concat(o["AUTH"], o["AUTH="]), func(p string) bool { return slices.Contains(strings.Fields(p), name) })
}

// A keywordFault is something in an offer that clients fail on.
type keywordFault struct {
	finding Finding
	line    *regexp.Regexp // matches the lines that show it, in upper case; nil: the whole offer does
	has     func(offer) bool
}

// keywordFaults returns all of them.
func keywordFaults() []keywordFault {
	return []keywordFault{
		{Finding{Name: "auth-equals", Kind: Fault, Entry: "L30", Rule: "auth-spelling",
			Means: "it offers logins as AUTH=LOGIN alone, as before RFC 2554: modern clients look for AUTH LOGIN, and do not log in"}, regexp.MustCompile(`^AUTH`),
			func(o offer) bool { return o.has("AUTH=") && !o.has("AUTH") }},
		{Finding{Name: "xauth", Kind: Fault, Entry: "L30", Rule: "translate-xauth",
			Means: "it offers logins as XAUTH, which only Exchange 5.0 uses: other clients look for AUTH, and do not log in"}, regexp.MustCompile(`^X?AUTH`),
			func(o offer) bool { return (o.has("XAUTH") || o.has("XAUTH=")) && !o.has("AUTH") && !o.has("AUTH=") }},
		{Finding{Name: "auth-lines", Kind: Fault, Entry: "L27", Rule: "one-auth-line",
			Means: "it offers AUTH in several lines with different mechanisms, of which clients read one"}, regexp.MustCompile(`^AUTH `), differentAuth},
		{Finding{Name: "tls-keyword", Kind: Fault, Entry: "L102", Rule: "starttls-keyword",
			Means: "it offers TLS by the keyword TLS, which nobody looks for: clients stay in clear"}, regexp.MustCompile(`^TLS$`),
			func(o offer) bool { return o.has("TLS") && !o.has("STARTTLS") }},
		{Finding{Name: "painted-keywords", Kind: Fault, Entry: "L07", Rule: "masked-ehlo",
			Means: "a firewall on the way overwrites keywords with X's, as Cisco's PIX does: these extensions are lost"}, regexp.MustCompile(`^XXX+[A-Z]?\b`),
			func(o offer) bool { return o.any(regexp.MustCompile(`^XXX+[A-Z]?$`)) }},
		{Finding{Name: "keywords", Kind: Note, Entry: "L26", Rule: "plain-keywords",
			Means: "the EHLO reply has lines that RFC 5321 does not have, such as AUTH=LOGIN, OK, or AUTH without a mechanism: some strict clients fail on them"},
			regexp.MustCompile(`^(?:[^ ]*[^A-Z0-9 -]|OK$|AUTH *$)`),
			func(o offer) bool {
				return o.any(regexp.MustCompile(`[^A-Z0-9-]|^OK$`)) || slices.Contains(o["AUTH"], "")
			}},
		{Finding{Name: "size-zero", Kind: Note, Entry: "L47", Rule: "size-zero",
			Means: "it sends SIZE 0 for no limit, as RFC 1870 has it: some clients take that for a limit of zero octets"}, regexp.MustCompile(`^SIZE`),
			func(o offer) bool { return slices.Contains(o["SIZE"], "0") }},
		{Finding{Name: "turn", Kind: Note, Entry: "L54",
			Means: "it offers TURN or ATRN, by which a client takes over the server's queue; smtpshim passes neither"}, regexp.MustCompile(`^A?TU?RN\b`),
			func(o offer) bool { return o.has("TURN") || o.has("ATRN") }},
		{Finding{Name: "no-8bitmime", Kind: Note, Entry: "L50", Rule: "offer-8bitmime",
			Means: "it does not offer 8BITMIME: some senders bounce mail of 8 bits that they cannot encode"}, nil,
			func(o offer) bool { return !o.has("8BITMIME") }},
	}
}

func (o offer) any(name *regexp.Regexp) bool {
	for keyword := range o {
		if name.MatchString(keyword) {
			return true
		}
	}
	return false
}

func differentAuth(o offer) bool {
	lines := slices.Clone(o["AUTH"])
	for i, l := range lines {
		words := strings.Fields(l)
		slices.Sort(words)
		lines[i] = strings.Join(words, " ")
	}
	slices.Sort(lines)
	return len(slices.Compact(lines)) > 1
}

// lookAtOffer reports what clients fail on in a reply to EHLO.
func (v *visit) lookAtOffer(e exchange, o offer) {
	for _, k := range keywordFaults() {
		if !k.has(o) {
			continue
		}
		k.finding.Seen = seen(e)
		if k.line != nil {
			k.finding.Seen = nil
			for i, text := range e.texts() {
				if i > 0 && k.line.MatchString(strings.ToUpper(text)) {
					k.finding.Seen = append(k.finding.Seen, Line('S', strings.TrimRight(e.lines[i], "\r\n")))
				}
			}
		}
		v.find(k.finding)
	}
}

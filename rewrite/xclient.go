package rewrite

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/vocabulary"
)

// SendXCLIENT says whether the server is told by XCLIENT who the client is.
// A server that judges by our address instead may relay for everybody.
type SendXCLIENT uint8

const (
	XCLIENTNever    SendXCLIENT = iota
	XCLIENTOffered              // where the server offers it
	XCLIENTRequired             // or the session ends with 421
)

var xclientNames = [...]string{"", "offered", "require"}

func (m SendXCLIENT) String() string { return xclientNames[m] }

// UnmarshalText accepts the names that String gives.
func (m *SendXCLIENT) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), xclientNames[:])
	*m = SendXCLIENT(i)
	return err
}

// An attribute is one of those that XCLIENT can give, by its place in
// attributeNames.
type attribute uint8

const (
	attrNAME attribute = iota
	attrADDR
	attrPORT
	attrPROTO
	attrHELO
	attrLOGIN
	attrDESTADDR
	attrDESTPORT
	attributes
)

var attributeNames = [attributes]string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}

// attributeSet is a set of attributes.
type attributeSet uint8

func (s attributeSet) has(a attribute) bool { return s&(1<<a) != 0 }

func attributeOf(name string) (attribute, bool) {
	i := slices.Index(attributeNames[:], strings.ToUpper(name))
	return attribute(max(i, 0)), i >= 0
}

const (
	unavailable   = "[UNAVAILABLE]"
	temporary     = "[TEMPUNAVAIL]" // of a name only
	addressPrefix = "IPV6:"
	maxAttribute  = 255 // octets of a value (XCLIENT_README, note 1)
	maxXCLIENT    = 510 // octets of a command without its CRLF (the same; RFC 5321, 4.5.3.1.4)

	notOfferedText = "421 4.3.5 the server does not offer XCLIENT"
	notTakenText   = "421 4.3.5 the server answered XCLIENT with " // its code follows
	maskedText     = "421 4.7.0 a sealed stream is not passed to a server that is told XCLIENT"
	crowdedText    = "421 4.7.0 too many sessions, try again later"
)

// NotServedText is the reply, in place of a greeting, to a client that is not served
// (RFC 5321, 3.1 and 4.2.1; RFC 3463, 3.8).
const NotServedText = "554 5.7.1 no service for clients from this address"

// origin is who the client is, as far as that is known.
type origin struct {
	client, destination netip.AddrPort // an address that is not valid, port 0: not known
	said                *introduction  // nil: no XCLIENT command of the client's was taken
}

// An introduction is what only an XCLIENT command of the client's can tell; "": it has not.
type introduction struct{ name, proto, hello, login string }

// introduction is what XCLIENT has said so far.
func (o *origin) introduction() introduction {
	if o.said == nil {
		return introduction{}
	}
	return *o.said
}

// Connected says between which two ends the client's connection is, for XCLIENT;
// the zero AddrPort is one that is not known.
func (d *Dialogue) Connected(client, destination netip.AddrPort) {
	d.origin.client, d.origin.destination = client, destination
	d.introduces = d.policy.mayIntroduce(client.Addr()) // not whoever a balancer does not know
}

// Ends gives the ends of the client's connection as they are known now: an
// XCLIENT command may have said others than Connected.
func (d *Dialogue) Ends() (client, destination netip.AddrPort) {
	return d.origin.client, d.origin.destination
}

// mayIntroduce says whether an address may say by XCLIENT who its clients are.
// Who may is decided once: no XCLIENT changes it.
func (p *Policy) mayIntroduce(a netip.Addr) bool {
	return InNetworks(a, p.XCLIENTFrom)
}

// obeysXCLIENT says whether XCLIENT is offered to this client.
func (d *Dialogue) obeysXCLIENT() bool {
	return d.introduces && (d.seen.tls || d.policy.ClientTLS != ClientTLSRequire)
}

// takeXCLIENT takes the command from a client that may say it. It takes the
// session back to where it began, for the client that it names; so it has no
// place in a transaction, or where somebody has logged in.
func (d *Dialogue) takeXCLIENT(line []byte) {
	o := d.origin
	switch {
	case d.seen.transaction || d.seen.authenticated || d.usesLogin():
		d.answer(VerbXCLIENT, "503 5.5.1 XCLIENT comes before AUTH and MAIL")
	case !o.amend(line):
		d.answer(VerbXCLIENT, "501 5.5.4 wanted XCLIENT NAME=VALUE, each name once and each value in xtext")
	default:
		d.origin = o
		d.clientIs(o.client.Addr())
		d.next = AwaitAdmission
	}
}

// Admitted says why the client that an XCLIENT command has named is not served; "": it
// is. The command is answered now. Where a connection to the server begins with
// telling it who the client is, the answer is the greeting of a fresh one.
func (d *Dialogue) Admitted(refusal vocabulary.Rejection) {
	d.seen.anew = true
	d.server.introduced = false
	switch {
	case refusal == vocabulary.RejectionClients:
		d.end(vocabulary.OutcomeClientProtocol, NotServedText)
	case refusal != "":
		d.end(vocabulary.OutcomeClientProtocol, crowdedText)
	case d.policy.Afresh:
		d.server.gone = true
		d.next = AwaitServer
	default:
		d.answer(VerbXCLIENT, "220 "+d.policy.Hostname+" ESMTP")
		d.next = AwaitCommand
	}
}

// amend reads an XCLIENT command; what it does not name stays. But an address is
// that of another client, of whom nothing else is known yet.
func (o *origin) amend(line []byte) bool {
	words := strings.Split(string(line), " ")
	if len(words) < 2 || !strings.EqualFold(words[0], "XCLIENT") {
		return false
	}
	var values [attributes]string
	var named attributeSet
	said := o.introduction() // of its own: an XCLIENT that is refused changes nothing
	o.said = &said
	for _, word := range words[1:] {
		name, text, _ := strings.Cut(word, "=")
		a, known := attributeOf(name)
		value, ok := fromXtext(text)
		if !known || !ok || named.has(a) {
			return false
		}
		values[a] = value
		named |= 1 << a
	}
	if named.has(attrADDR) {
		said = introduction{}
		o.client = netip.AddrPort{}
	}
	if named.has(attrDESTADDR) {
		o.destination = netip.AddrPort{}
	}
	for a, value := range values { // an address before its port
		if named.has(attribute(a)) && !o.set(attribute(a), value) {
			return false
		}
	}
	return true
}

// set takes the value of one attribute, and says whether it can be one.
func (o *origin) set(a attribute, value string) (ok bool) {
	unknown := strings.EqualFold(value, unavailable)
	if unknown {
		value = ""
	}
	switch a {
	case attrADDR:
		ok = setAddress(&o.client, value)
	case attrDESTADDR:
		ok = setAddress(&o.destination, value)
	case attrPORT:
		ok = setPort(&o.client, value)
	case attrDESTPORT:
		ok = setPort(&o.destination, value)
	case attrPROTO:
		o.said.proto = strings.ToUpper(value)
		ok = o.said.proto == "SMTP" || o.said.proto == "ESMTP"
		unknown = false
	case attrNAME:
		o.said.name = value
		ok = isHostname(value) || strings.EqualFold(value, temporary)
	case attrHELO:
		o.said.hello, ok = value, true
	case attrLOGIN:
		o.said.login, ok = value, true
	}
	return ok || unknown
}

func setAddress(end *netip.AddrPort, value string) bool {
	six := len(value) > len(addressPrefix) && strings.EqualFold(value[:len(addressPrefix)], addressPrefix)
	if six {
		value = value[len(addressPrefix):]
	}
	address, err := netip.ParseAddr(value)
	*end = netip.AddrPortFrom(address.Unmap(), end.Port())
	return err == nil && address.Zone() == "" && address.Is6() == six
}

func setPort(end *netip.AddrPort, value string) bool {
	port, err := strconv.ParseUint(value, 10, 16)
	*end = netip.AddrPortFrom(end.Addr(), uint16(port))
	return err == nil && strconv.FormatUint(port, 10) == value
}

func isHostname(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// fromXtext decodes xtext (RFC 3461, 4). A value that is empty, too long or has
// control characters in it is none.
func fromXtext(text string) (value string, ok bool) {
	var b []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+' && i+2 < len(text):
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 2
		case c <= ' ' || c > '~' || c == '+' || c == '=':
			return "", false
		}
		if c < ' ' || c == 0x7f {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), 0 < len(b) && len(b) <= maxAttribute
}

// toXtext encodes a value; one that is empty, or gets too long by it, is not available.
func toXtext(value string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if c := value[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			b.Write([]byte{'+', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() == 0 || b.Len() > maxAttribute {
		return unavailable
	}
	return b.String()
}

// attributesOffered reads what XCLIENT may tell the server of this EHLO reply.
// XCLIENT without ADDR is of no use.
func attributesOffered(e Extensions) (s attributeSet) {
	for _, word := range e.Params("XCLIENT") {
		if a, ok := attributeOf(word); ok {
			s |= 1 << a
		}
	}
	if !s.has(attrADDR) {
		return 0
	}
	return s
}

// wantsXCLIENT says that the server is to be told who the client is, and was not.
func (d *Dialogue) wantsXCLIENT() bool {
	return d.policy.XCLIENT != XCLIENTNever && !d.server.introduced
}

// xclientComes says, after an EHLO or HELO that the server has answered, whether
// XCLIENT comes next. Where it is not offered, and need not be, that is settled.
func (d *Dialogue) xclientComes() bool {
	if !d.wantsXCLIENT() {
		return false
	}
	if d.server.attributes == 0 && d.policy.XCLIENT == XCLIENTOffered {
		d.server.introduced = true
		return false
	}
	return true
}

// sayXCLIENT tells the server who the client is, in as many commands as it
// takes. A refusal is of the command, or of the client that it names: that one
// the client gets.
func (t *Turn) sayXCLIENT() aftermath {
	d := t.d
	if d.server.attributes == 0 {
		d.server.gone = true
		d.end(vocabulary.OutcomeXCLIENT, notOfferedText)
		return ended
	}
	for _, line := range d.xclientLines() {
		e := t.say(line, xclientCause)
		switch {
		case e.kind == lost:
			d.end(vocabulary.OutcomeServerLost, lostText)
			return ended
		case e.code < 300:
			d.swallow(e.raw, xclientCause)
			continue
		case e.code < 400:
			d.breach()
		case refusesXCLIENT(e.code):
			d.swallow(e.raw, xclientCause)
			d.server.gone = true
			d.end(vocabulary.OutcomeXCLIENT, notTakenText+strconv.Itoa(e.code))
		default:
			d.departed(t.applied)
			d.give(t.verb, e.raw, Reply{})
		}
		return ended
	}
	d.server.introduced = true
	d.server.forget()
	return forgetful
}

// refusesXCLIENT says that the server means the command and not the client
// (XCLIENT_README, reply codes; RFC 5321, 4.2.4).
func refusesXCLIENT(code int) bool {
	return code == 421 || code == 550 || 500 <= code && code <= 504
}

// xclientLines are the commands that tell the server who the client is, by the
// attributes that it offers.
func (d *Dialogue) xclientLines() []string {
	var lines []string
	line := "XCLIENT"
	for a, name := range attributeNames {
		if !d.server.attributes.has(attribute(a)) {
			continue
		}
		word := " " + name + "=" + toXtext(d.value(attribute(a)))
		if len(line)+len(word) > maxXCLIENT {
			lines = append(lines, line)
			line = "XCLIENT"
		}
		line += word
	}
	return append(lines, line)
}

// value is what is known of the client; "" if nothing is.
func (d *Dialogue) value(a attribute) string {
	o := &d.origin
	switch a {
	case attrADDR:
		return addressText(o.client.Addr())
	case attrPORT:
		return portText(o.client.Port())
	case attrNAME:
		return o.introduction().name
	case attrPROTO:
		return d.proto()
	case attrHELO:
		if hello := o.introduction().hello; hello != "" {
			return hello
		}
		return string(Argument(d.hello))
	case attrLOGIN:
		return o.introduction().login
	case attrDESTADDR:
		return addressText(o.destination.Addr())
	}
	return portText(o.destination.Port())
}

// proto is how the client said hello.
func (d *Dialogue) proto() string {
	said := d.seen.hello
	if d.turn != nil && d.turn.held && hello.Has(d.turn.verb) {
		said = d.turn.verb
	}
	switch {
	case d.origin.introduction().proto != "":
		return d.origin.said.proto
	case said == VerbEHLO:
		return "ESMTP"
	case said == VerbLHLO:
		return "LMTP"
	}
	return "SMTP"
}

func addressText(a netip.Addr) string {
	switch a = a.Unmap().WithZone(""); {
	case !a.IsValid():
		return ""
	case a.Is6():
		return addressPrefix + a.String()
	}
	return a.String()
}

func portText(port uint16) string {
	if port == 0 {
		return ""
	}
	return strconv.Itoa(int(port))
}

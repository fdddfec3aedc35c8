package rewrite

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/vocabulary"
)

// SendXCLIENT says whether we tell the server by XCLIENT who the client is. A server that
// judges clients by our address instead may become an open relay.
type SendXCLIENT uint8

const (
	XCLIENTNever    SendXCLIENT = iota
	XCLIENTOffered              // if the server offers XCLIENT
	XCLIENTRequired             // always, or the session ends with 421
)

var xclientNames = [...]string{"", "offered", "require"}

func (m SendXCLIENT) String() string { return xclientNames[m] }

// UnmarshalText sets m to the mode whose String is text. Any other text is an error.
func (m *SendXCLIENT) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), xclientNames[:])
	*m = SendXCLIENT(i)
	return err
}

// An attribute is an attribute of XCLIENT, as an index of attributeNames.
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
	temporary     = "[TEMPUNAVAIL]" // for NAME only
	addressPrefix = "IPV6:"
	maxAttribute  = 255 // octets of a value (XCLIENT_README, note 1)
	maxXCLIENT    = 510 // octets of a command without its CRLF (XCLIENT_README, note 1; RFC 5321, 4.5.3.1.4)

	notOfferedText = "421 4.3.5 the server does not offer XCLIENT"
	notTakenText   = "421 4.3.5 the server answered XCLIENT with " // the code follows
	maskedText     = "421 4.7.0 a sealed stream is not passed to a server that is told XCLIENT"
	crowdedText    = "421 4.7.0 too many sessions, try again later"
)

// NotServedText is the reply that a client gets in place of a greeting, or as the reply
// to XCLIENT, if its address is not served (RFC 5321, 3.1 and 4.2.1; RFC 3463, 3.8).
const NotServedText = "554 5.7.1 no service for clients from this address"

// An origin is what is known about the client.
type origin struct {
	client, destination netip.AddrPort // invalid address or port 0: not known
	said                *introduction  // from the client's XCLIENT commands; nil: none was accepted
}

// An introduction is what only an XCLIENT command of the client can tell. "" means not
// known.
type introduction struct{ name, proto, hello, login string }

// introduction returns what XCLIENT has told so far.
func (o *origin) introduction() introduction {
	if o.said == nil {
		return introduction{}
	}
	return *o.said
}

// Connected sets the two ends of the client's connection. client is the address of the
// client. destination is the address that the client has connected to. The zero
// AddrPort means that an end is not known. XCLIENT tells the server both ends, and the
// address of the client decides whether it may send XCLIENT itself.
func (d *Dialogue) Connected(client, destination netip.AddrPort) {
	d.origin.client, d.origin.destination = client, destination
	d.introduces = d.policy.mayIntroduce(client.Addr()) // false if a load balancer does not know the client
}

// Ends returns the two ends of the client's connection, as Connected has set them or an
// XCLIENT command of the client has named them since. client is the address of the
// client. destination is the address that the client has connected to.
func (d *Dialogue) Ends() (client, destination netip.AddrPort) {
	return d.origin.client, d.origin.destination
}

// mayIntroduce reports whether a client at this address may say by XCLIENT who its own
// client is. This is decided once for a connection: no XCLIENT changes it.
func (p *Policy) mayIntroduce(a netip.Addr) bool {
	return InNetworks(a, p.XCLIENTFrom)
}

// obeysXCLIENT reports whether XCLIENT is offered to this client.
func (d *Dialogue) obeysXCLIENT() bool {
	return d.introduces && (d.seen.tls || d.policy.ClientTLS != ClientTLSRequire)
}

// takeXCLIENT handles an XCLIENT of a client that may send it. The session starts again
// for the client that it names. Therefore it is refused in a transaction and after a
// login.
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

// Admitted tells the dialogue whether the client that an XCLIENT command names is
// served. If refusal is "", it is served, and the reply to the XCLIENT is a greeting.
// That is the server's greeting on a fresh connection if Policy.Afresh is true, and
// otherwise a 220 of our own. If refusal is not "", the client gets a refusal as the
// reply, and the session ends.
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

// amend applies an XCLIENT command to o. Attributes that it does not name are kept. But
// an address means another client, of which nothing else is known yet.
func (o *origin) amend(line []byte) bool {
	words := strings.Split(string(line), " ")
	if len(words) < 2 || !strings.EqualFold(words[0], "XCLIENT") {
		return false
	}
	var values [attributes]string
	var named attributeSet
	said := o.introduction() // a copy, because a refused XCLIENT must change nothing
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
	for a, value := range values { // an address comes before its port
		if named.has(attribute(a)) && !o.set(attribute(a), value) {
			return false
		}
	}
	return true
}

// set sets one attribute and reports whether the value is valid.
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

// fromXtext decodes xtext (RFC 3461, 4). ok is false if the value is empty, too long or
// has control characters.
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

// toXtext encodes a value as xtext. If the value is empty, or the result too long, the
// result is [UNAVAILABLE].
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

// attributesOffered returns the attributes that the server accepts by XCLIENT, from its
// EHLO reply. Without ADDR there are none, because XCLIENT would be useless.
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

// wantsXCLIENT reports whether the server is yet to be told who the client is.
func (d *Dialogue) wantsXCLIENT() bool {
	return d.policy.XCLIENT != XCLIENTNever && !d.server.introduced
}

// xclientComes reports, after the server's reply to a hello, whether XCLIENT must be sent
// next. If the server does not offer it and the policy does not require it, none is sent
// on this connection.
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

// sayXCLIENT tells the server who the client is, in one or several commands. If the
// server refuses the client, the client gets that refusal. If the server refuses the
// command, the session ends.
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

// refusesXCLIENT reports whether a code refuses the command and not the client
// (XCLIENT_README, reply codes; RFC 5321, 4.2.4).
func refusesXCLIENT(code int) bool {
	return code == 421 || code == 550 || 500 <= code && code <= 504
}

// xclientLines returns the commands that tell the server who the client is, with the
// attributes that it accepts.
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

// value returns the value of an attribute; "" if it is not known.
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
		return string(Argument([]byte(d.hello)))
	case attrLOGIN:
		return o.introduction().login
	case attrDESTADDR:
		return addressText(o.destination.Addr())
	}
	return portText(o.destination.Port())
}

// proto returns the protocol of the client's hello: SMTP, ESMTP or LMTP.
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

package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// slowGreeting is the time for which some clients wait for a greeting: scanners of
// several makes, see the key device.
const slowGreeting = 20 * time.Second

// lookAtGreeting makes the first connection.
func (v *visit) lookAtGreeting() {
	if !v.fresh() {
		return
	}
	began := time.Now()
	g := v.talk.greeting()
	took := time.Since(began)
	v.greeted = g
	v.lookAtForm(g)
	switch {
	case g.lost != nil && len(g.lines) == 0:
		v.closed = true
		v.report.Missed = "it does not greet"
		v.find(Finding{Name: "no-greeting", Kind: Fault, Entry: "L11", Seen: seen(g), Means: "it accepts the connection and does not greet",
			Heals: "nothing makes it greet; through smtpshim the client gets 421 once timeouts.greeting is over, and can try another server"})
		return
	case !g.ok():
		v.closed = true
		v.report.Missed = "its greeting is a refusal"
		v.find(Finding{Name: "greeting-refuses", Kind: Note, Entry: "L05", Rule: "refused-greeting", Seen: seen(g),
			Means: "its greeting is a refusal: it accepts no session from this machine, so nothing else can be examined",
			Heals: "nothing changes the refusal: have the server accept this machine. For clients that continue after it, there is the rule refused-greeting"})
		return
	case took > slowGreeting:
		v.find(Finding{Name: "slow-greeting", Kind: Note, Entry: "L11", Seen: seen(g),
			Means: fmt.Sprintf("it greets after %d seconds, and some clients give up before", int(took.Seconds())),
			Heals: "nothing: the client has to wait longer"})
	}
	v.lookAtHost(g)
	if len(g.lines) > 1 && !g.early {
		v.find(Finding{Name: "greeting-lines", Kind: Note, Entry: "L01", Rule: "one-line-replies", Seen: seen(g),
			Means: "its greeting has several lines, and some old clients take the second for the reply to HELO or EHLO"})
	}
}

// lookAtHost looks for a host name in the server's greeting.
func (v *visit) lookAtHost(g exchange) {
	first, _, _ := strings.Cut(g.texts()[0], " ")
	host := Finding{Name: "no-host-name", Kind: Fault, Entry: "L03", Rule: "host-name-first", Setting: v.nameSetting(), Seen: seen(g),
		Means: "its greeting does not begin with its name, as RFC 5321 has it: IBM's SMTP for VM hangs up, and others look the first word up"}
	switch {
	case strings.Count(g.text(), "*") >= 4 && strings.Trim(g.text(), "*20 \n") == "" || strings.HasPrefix(first, "SMTP/cmap"):
		host.Name, host.Entry = "painted-greeting", "L06"
		host.Means = "a firewall on the way, such as Cisco's PIX, overwrites the greeting: clients see no name and no ESMTP. The firewall does more than that"
		v.find(host)
	case !hostName.MatchString(first):
		v.find(host)
	}
}

// nameSetting returns the setting that puts the server's name, or its address, into the
// greeting.
func (v *visit) nameSetting() string {
	name := v.Host
	if !hostName.MatchString(name) {
		address, err := netip.ParseAddrPort(v.talk.conn.RemoteAddr().String())
		if err != nil {
			return ""
		}
		ip := address.Addr().Unmap().WithZone("")
		if name = "[" + ip.String() + "]"; ip.Is6() {
			name = "[IPv6:" + ip.String() + "]"
		}
	}
	return fmt.Sprintf("options.host-name-first.name = %q", name)
}

// hostName matches a domain of several labels, or an address literal, as the rule
// host-name-first does.
var hostName = regexp.MustCompile(`^(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.[A-Za-z0-9_-]*[A-Za-z_-][A-Za-z0-9_-]*|\[[0-9A-Fa-f.:IPv]+\])[.,:;]?$`)

// lookAtHello finds a hello that the server accepts, in the session of the first
// greeting.
func (v *visit) lookAtHello() {
	refusal := v.say("EHLO " + v.Name)
	switch {
	case refusal.ok() && isLoneOK(refusal.reply):
		v.lookBehindOK(refusal)
		return
	case refusal.ok():
		v.takes("EHLO", refusal)
		return
	case errors.Is(refusal.lost, os.ErrDeadlineExceeded):
		v.tryHelo(refusal, Finding{Name: "ehlo-unanswered", Kind: Fault, Entry: "L20", Means: "it does not answer EHLO: clients wait until their timeout",
			Heals: "nothing finds out in time; if the client can send HELO, configure that"})
		return
	}
	if v.hungUp() {
		v.tryHelo(refusal, Finding{Name: "ehlo-hangs-up", Kind: Fault, Entry: "L20", Rule: "fall-back-to-helo",
			Means: "it hangs up on EHLO, and clients that do not try HELO by themselves send no mail"})
		return
	}
	second := v.say("EHLO " + v.Name)
	if second.ok() {
		v.retry = true
		v.find(Finding{Name: "first-ehlo", Kind: Fault, Entry: "L128", Rule: "retry-ehlo", Seen: seen(refusal, second),
			Means: "it refuses the first EHLO of a session and accepts the second: clients use HELO, or give up"})
		v.takes("EHLO", second)
		return
	}
	if v.hungUp() {
		v.tryHelo(refusal, Finding{Name: "ehlo-hangs-up", Kind: Fault, Entry: "L20", Rule: "fall-back-to-helo",
			Means: "it refuses EHLO and hangs up, and clients that do not try HELO by themselves send no mail"})
		return
	}
	f := Finding{Name: "ehlo-refused", Kind: Fault, Entry: "L21", Rule: "fall-back-to-helo",
		Means: "it does not know EHLO, and clients that do not try HELO by themselves send no mail"}
	if strings.Contains(refusal.text(), "XXXX") {
		f.Name, f.Entry = "ehlo-painted", "L07"
		f.Means = "a firewall on the way changes EHLO to XXXX, as Cisco's PIX does: the server behind it does not know this command"
	}
	v.tryHelo(refusal, f)
}

// tryHelo sends HELO after EHLO was refused, and reports f if it is accepted.
func (v *visit) tryHelo(refusal exchange, f Finding) {
	if v.hungUp() && !v.greetedAnew() {
		return
	}
	e := v.say("HELO " + v.Name)
	f.Seen = seen(refusal, e)
	if !e.ok() {
		f.Means += "; it does not accept HELO either"
		f.Rule, f.Heals = "", "nothing: it accepts no session from this machine"
	} else {
		v.takes("HELO", e)
	}
	v.find(f)
}

// takes records the hello that the server has accepted.
func (v *visit) takes(verb string, e exchange) {
	v.verb, v.hello, v.talk.hello = verb, e, true
	if verb == "EHLO" {
		v.offer = offerOf(e.reply)
	}
}

// isLoneOK reports whether a reply to EHLO is the reply to NOOP.
func isLoneOK(r reply) bool {
	text := strings.TrimSpace(r.text())
	return len(r.lines) == 1 && strings.EqualFold(strings.TrimSpace(status.ReplaceAllString(text, "")), "OK")
}

// lookBehindOK sends HELO. If a firewall has replaced EHLO by NOOP, the server has not
// seen a hello and answers HELO differently.
func (v *visit) lookBehindOK(ok exchange) {
	e := v.say("HELO " + v.Name)
	if !e.ok() || isLoneOK(e.reply) {
		v.takes("EHLO", ok)
		return
	}
	v.takes("HELO", e)
	v.find(Finding{Name: "ehlo-painted", Kind: Fault, Entry: "L07", Rule: "masked-ehlo", Seen: seen(ok, e),
		Means: "a firewall on the way changes EHLO to NOOP, as Cisco's PIX does: the server has received no EHLO, and refuses MAIL"})
}

var esmtp = regexp.MustCompile(`(?i)\bESMTP\b`)

// lookAtKeywords looks at the EHLO reply, and whether the greeting announces ESMTP.
func (v *visit) lookAtKeywords() {
	if v.verb != "EHLO" {
		v.untried = "it accepts only HELO"
		return
	}
	if len(v.offer) == 0 {
		v.untried = "its EHLO reply has no keywords"
		return
	}
	if !esmtp.MatchString(v.greeted.text()) && v.greetsPlainly() {
		v.find(Finding{Name: "no-esmtp", Kind: Fault, Entry: "L02", Rule: "advertise-esmtp", Seen: append(seen(v.greeted), seen(v.hello)...),
			Means: "it supports ESMTP and does not say so in its greeting: clients that look for the word use HELO, and have no SIZE, DSN or AUTH"})
	}
	v.lookAtOffer(v.hello, v.offer)
}

// greetsPlainly reports whether the greeting of another session also lacks the word
// ESMTP. Behind advertise-esmtp, the first greeting of a day may lack it, because the
// rule has not learned yet what the server supports.
func (v *visit) greetsPlainly() bool {
	if !v.fresh() {
		v.untried = ""
		return true
	}
	g := v.talk.greeting()
	if v.talk.lost == nil {
		v.sayHello()
	}
	return g.ok() && !esmtp.MatchString(g.text())
}

func (v *visit) lookAtSecondHello() {
	if !v.session() {
		return
	}
	e := v.say(v.verb + " " + v.Name)
	if v.again = e.ok(); v.again {
		return
	}
	v.find(Finding{Name: "second-ehlo", Kind: Fault, Entry: "L23", Rule: "second-ehlo", Setting: `options.second-ehlo.when = "always"`, Seen: seen(e),
		Means: "it refuses a second EHLO or HELO in a session, which clients send inside TLS, after a login, or for the next message"})
}

// oddNames returns names that some clients are known to send.
func oddNames() []string {
	return []string{"host.example.com.", "my_host.example.com", "printer", "192.0.2.1", ""}
}

// lookAtNames sends hellos with odd names, each in a session without a hello if that
// matters.
func (v *visit) lookAtNames() {
	var refused []exchange
	dot := false
	for _, name := range oddNames() {
		anew := v.talk == nil || v.talk.gone(time.Millisecond) || v.talk.hello && !v.again
		if anew && !v.greetedAnew() {
			break
		}
		e := v.say(strings.TrimSpace(v.verb + " " + name))
		if v.retry && !e.ok() && !v.talk.hello && e.lost == nil {
			e = v.say(e.command)
		}
		if v.talk.hello = v.talk.hello || e.ok(); !e.ok() && e.code != 421 {
			refused = append(refused, e)
			dot = dot || strings.HasSuffix(name, ".")
		}
	}
	f := Finding{Name: "names", Kind: Strict, Entry: "L25", Rule: "fix-hello-name", Seen: seen(refused...),
		Means: "it refuses names in EHLO and HELO that RFC 5321 does not allow, and old clients and devices send such names"}
	if dot {
		f.Kind = Fault
		f.Means = "it refuses a name with a dot at its end in EHLO and HELO, by which hosts mark a whole name: their mail stops"
	}
	if refused != nil {
		v.find(f)
	}
}

// lookAtEarlyTalk sends EHLO without waiting for the greeting.
func (v *visit) lookAtEarlyTalk() {
	if !v.fresh() {
		return
	}
	e := v.talk.say(v.verb + " " + v.Name)
	if e.ok() {
		e.reply = v.talk.hear(v.Wait, true) // the reply after the greeting
	}
	if v.retry {
		return
	}
	if e.refused() || e.code/100 == 4 {
		v.find(Finding{Name: "early-talk", Kind: Strict, Entry: "L12", Seen: seen(e),
			Means: "it refuses clients that send commands before its greeting, which RFC 5321 forbids and some do"})
	}
}

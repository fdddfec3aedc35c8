package probe

import (
	"context"
	"crypto/tls"
	"time"

	"smtpshim/proxy/tlspolicy"
)

// throughTLS are the settings for a server with a TLS that clients cannot handle:
// smtpshim uses that TLS, and the clients stay in clear.
const throughTLS = `client_tls.mode = "hide" # or "offer", with a certificate, for clients that want TLS` + "\n" + `server_tls.mode = "opportunistic"`

// lookAtTLS begins TLS, with any version that crypto/tls supports and any certificate,
// and examines what follows.
func (v *visit) lookAtTLS() {
	if !v.offer.has("STARTTLS") {
		v.untried = "it does not offer STARTTLS"
		return
	}
	if !v.session() {
		return
	}
	e := v.say("STARTTLS")
	if e.code != 220 {
		v.find(Finding{Name: "starttls-refused", Kind: Fault, Entry: "L100", Rule: "hide-failed-starttls", Seen: seen(e),
			Means: "it offers STARTTLS and refuses it: clients that would use it give up the mail"})
		v.hangUp()
		return
	}
	state, err := v.secure()
	if err != nil {
		_, text := tlspolicy.Explain(err)
		v.find(Finding{Name: "tls-fails", Kind: Fault, Entry: "L101", Setting: throughTLS, Seen: append(seen(e), Line(0, "TLS fails: "+text)),
			Means: "it accepts STARTTLS and TLS fails, as behind a firewall that answers itself, or with TLS that nobody supports any more",
			Heals: "smtpshim tries TLS with it, and continues in clear if that fails"})
		v.hangUp()
		return
	}
	v.report.TLS = "TLS " + tlspolicy.Version(state.Version) + ", " + tlspolicy.Suite(state.CipherSuite)
	if weak, _ := tlspolicy.Needs(state.Version, state.CipherSuite); weak != 0 {
		v.find(Finding{Name: "old-tls", Kind: Fault, Entry: "L103", Setting: throughTLS, Seen: append(seen(e), Line(0, v.report.TLS)),
			Means: "it supports only old TLS, which modern clients refuse",
			Heals: "smtpshim uses it in their place; to verify its certificate too, use require and allow under weak: " + weak.String()})
	}
	hello := v.say("EHLO " + v.Name)
	if v.talk.hello = hello.ok(); !hello.ok() {
		v.find(Finding{Name: "tls-ehlo", Kind: Fault, Entry: "L23", Rule: "second-ehlo", Setting: throughTLS, Seen: append(seen(e), append([]string{Line(0, v.report.TLS)}, seen(hello)...)...),
			Means: "it refuses EHLO inside TLS, which RFC 3207 requires"})
	} else if inside := offerOf(hello.reply); inside.has("STARTTLS") {
		v.find(Finding{Name: "starttls-again", Kind: Note, Seen: append([]string{Line(0, v.report.TLS)}, seen(hello)...),
			Means: "it offers STARTTLS inside TLS, and some clients begin it again", Heals: "smtpshim hides it from a client whose TLS it has begun itself"})
	}
	v.lookAtMailInTLS()
	v.hangUp()
}

// secure begins TLS on the connection.
func (v *visit) secure() (state tls.ConnectionState, err error) {
	dialer, err := tlspolicy.NewDialer(tlspolicy.ServerLeg{Verification: tlspolicy.Opportunistic})
	if err != nil {
		return state, err
	}
	ctx, cancel := context.WithTimeout(v.ctx, v.Wait)
	defer cancel()
	v.talk.conn.SetDeadline(time.Time{})
	conn, err := dialer.Handshake(ctx, v.talk.conn, "")
	if err != nil {
		v.talk.lost = err
		return state, err
	}
	v.talk.use(conn)
	v.talk.secure = true
	return conn.ConnectionState(), nil
}

// lookAtMailInTLS sends MAIL in the first TLS session. IIS forgets that TLS is in use.
func (v *visit) lookAtMailInTLS() {
	if v.Mail == "" || !v.talk.hello {
		return
	}
	e := v.say("MAIL FROM:<" + v.Mail + ">")
	if e.ok() {
		v.say("RSET")
		return
	}
	if wantsTLS.MatchString(e.text()) && (e.code == 505 || e.code == 530 || e.code == 503) {
		v.find(Finding{Name: "tls-forgotten", Kind: Fault, Entry: "L107", Rule: "retry-starttls", Setting: throughTLS,
			Seen: append([]string{Line(0, v.report.TLS)}, seen(e)...), Means: "inside TLS it asks for STARTTLS all the same, as IIS 4 and 5 do on a first connection: the mail is returned",
			Heals: "smtpshim uses TLS with it, and tries again on a fresh connection"})
	}
}

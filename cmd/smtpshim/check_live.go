package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// liveWait limits the time for one server.
const liveWait = 30 * time.Second

// checkLive has a session with each server of the routes, concurrently, and prints the
// results. It returns the number of servers that cannot be used as configured.
func checkLive(w io.Writer, c *config.Config) (bad int) {
	var visits []*visit
	var all sync.WaitGroup
	for _, r := range c.Routes {
		for _, server := range r.Servers {
			v := &visit{route: r, server: server, accounts: c.Accounts}
			visits = append(visits, v)
			if server != proxy.OriginalDestination {
				all.Go(v.make)
			}
		}
	}
	all.Wait()
	for _, v := range visits {
		fmt.Fprintf(w, "server %s of route %s\n", v.server, v.route.Name)
		if v.server == proxy.OriginalDestination {
			entry(w, 2, "", 2, "nothing to check: each client has a server of its own")
		} else if v.print(w); v.trouble() != "" {
			bad++
		}
		fmt.Fprintln(w)
	}
	return bad
}

// A visit is what was found out about one server of a route.
type visit struct {
	route    *config.Route
	server   string
	accounts []*config.Account // all accounts of the configuration

	session liveSession // with the route's settings
	look    liveSession // with TLS and any certificate, if the route uses no TLS or it failed
	late    bool        // the time limit was reached
	logins  []loginTrial
}

func (v *visit) make() {
	ctx, cancel := context.WithTimeout(context.Background(), liveWait)
	defer cancel()
	anybody, _ := tlspolicy.NewDialer(tlspolicy.ServerLeg{Verification: tlspolicy.Opportunistic}) // no setting can be wrong
	as := v.route.ServerTLS
	if as.Dialer == nil {
		as.Dialer = anybody
	}
	v.session.hold(ctx, v.as(as))
	v.tryLogins(ctx)
	if as.Mode == rewrite.ServerTLSOff && v.session.offersTLS() {
		as.Mode = rewrite.ServerTLSOpportunistic
	} else if v.session.tls.err == nil {
		v.late = ctx.Err() != nil
		return
	}
	as.Dialer = anybody
	v.look.hold(ctx, v.as(as))
	v.late = ctx.Err() != nil
}

// as returns the route with this server alone, for a client that is not on a network.
func (v *visit) as(tls proxy.ServerTLS) *proxy.Route {
	r := *v.route.Route
	r.Servers, r.ServerTLS, r.Logins = []string{v.server}, tls, nil
	r.Health = proxy.Health{}
	r.Source.Client = false
	if r.ClientTLS.Mode == rewrite.ClientTLSImplicit {
		r.ClientTLS.Mode = rewrite.ClientTLSHide // our client is in clear
	}
	return &r
}

// A liveSession is a session that sends a hello and leaves, without mail.
type liveSession struct {
	auth  bool // send AUTH, for a login of ours
	tls   watchedDialer
	lines []transcript.Line
	end   proxy.Ending
	codes []string // codes of the replies that the client got
}

// hold runs the session, until ctx is done.
func (s *liveSession) hold(ctx context.Context, r *proxy.Route) {
	s.tls.Dialer = r.ServerTLS.Dialer
	r.ServerTLS.Dialer, r.Dialogue = &s.tls, s.dialogue
	p := proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	defer p.Close()
	near, far := net.Pipe()
	defer context.AfterFunc(ctx, func() { p.Close() })()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Serve(far, r)
	}()
	replies := bufio.NewReader(near)
	commands := []string{"QUIT"}
	if s.hear(replies); s.welcome() {
		commands = []string{"EHLO " + liveName(), "QUIT"}
		if s.auth {
			commands = []string{"EHLO " + liveName(), "AUTH PLAIN AAA=", "QUIT"}
		}
	}
	for _, command := range commands {
		io.WriteString(near, command+"\r\n") // if the session has ended, there is no reply
		s.hear(replies)
	}
	near.Close()
	<-ended
}

// welcome reports whether the greeting was positive.
func (s *liveSession) welcome() bool { return len(s.codes) > 0 && s.codes[0][0] == '2' }

// liveName returns our name as a client.
func liveName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// hear records the code of a reply.
func (s *liveSession) hear(replies *bufio.Reader) {
	for {
		line, err := replies.ReadString('\n')
		if err != nil {
			return
		}
		if len(line) > 3 && line[3] != '-' {
			s.codes = append(s.codes, line[:3])
			return
		}
	}
}

// dialogue is the Dialogue of a proxy.Route.
func (s *liveSession) dialogue(proxy.Beginning) proxy.DialogueListener { return s }

// Line implements proxy.DialogueListener. It keeps the line l.
func (s *liveSession) Line(l transcript.Line) { s.lines = append(s.lines, l) }

// End implements proxy.DialogueListener. It keeps the ending e.
func (s *liveSession) End(e proxy.Ending) { s.end = e }

// offersTLS reports whether the server offers STARTTLS.
func (s *liveSession) offersTLS() bool {
	return slices.ContainsFunc(s.lines, func(l transcript.Line) bool {
		said := l.Side == 'S' && l.Mark != transcript.Added && len(l.Text) > 4
		return said && strings.EqualFold(strings.TrimSpace(l.Text[4:]), "STARTTLS")
	})
}

// A watchedDialer records the result of the last handshake.
type watchedDialer struct {
	proxy.Dialer
	state   *tls.ConnectionState // nil: there was no handshake
	err     error
	classic bool // it offered no ML-KEM, because one with it had failed
}

// Handshake implements proxy.Dialer. It calls the Handshake of the Dialer in d and
// records the result.
func (d *watchedDialer) Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error) {
	secure, err := d.Dialer.Handshake(ctx, conn, server)
	return secure, d.note(secure, err)
}

// HandshakeClassic calls [tlspolicy.Dialer.HandshakeClassic] of the Dialer in d. It
// records the result, and that the handshake offered no ML-KEM.
func (d *watchedDialer) HandshakeClassic(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error) {
	d.classic = true
	secure, err := d.Dialer.(*tlspolicy.Dialer).HandshakeClassic(ctx, conn, server)
	return secure, d.note(secure, err)
}

func (d *watchedDialer) note(secure *tls.Conn, err error) error {
	if d.err = err; err == nil {
		state := secure.ConnectionState()
		d.state = &state
	}
	return err
}

// trouble returns why the server cannot be used as configured; "" if it can.
func (v *visit) trouble() string {
	s, mode := &v.session, v.route.ServerTLS.Mode
	switch {
	case v.late:
		return fmt.Sprintf("not done within %s: %s", words.Brief(liveWait), cmp.Or(s.end.While, "connecting"))
	case s.tls.err != nil && mode >= rewrite.ServerTLSRequire:
		_, text := tlspolicy.Explain(s.tls.err)
		return "TLS fails, so there is no mail: " + text
	case s.end.Server == "":
		return "cannot be reached: " + v.said()
	case mode == rewrite.ServerTLSRequire && s.tls.state == nil:
		return "TLS is required and not offered, so there is no mail"
	case s.end.Outcome == vocabulary.OutcomeXCLIENT:
		return v.said() + "; Postfix offers it to the hosts that smtpd_authorized_xclient_hosts names"
	case !s.welcome() || slices.Contains(s.codes, "421"):
		return cmp.Or(v.said(), "it does not accept sessions from this machine")
	}
	for _, l := range v.logins {
		if l.refused != "" {
			return "account " + l.account + " cannot log in, so its clients send no mail"
		}
	}
	return ""
}

// said returns the error as the log would have it for this server.
func (v *visit) said() string {
	why, _, _ := strings.Cut(v.session.end.Err, "; then we said ")
	return strings.TrimPrefix(why, "server "+v.server+": ")
}

func (v *visit) print(w io.Writer) {
	out := demoOutput{w, colourful(w)}
	if v.session.end.Server != "" {
		out.dialogue(v.session.lines)
		fmt.Fprintln(w)
	}
	line := func(name, text string) { entry(w, 2, name, 17, text) }
	v.printTLS(w, line)
	for _, p := range v.session.end.Products {
		line("product", productMeans(p))
	}
	acted := v.session.end.Rules
	for _, r := range heal.Table() {
		if acted[r.Name] > 0 {
			line("rule", r.Name+" acts; it heals "+r.Heals)
		}
	}
	for _, name := range v.route.Rules.Names() {
		if acted[name] > 0 && strings.HasPrefix(name, heal.ReplacePrefix) {
			line("rule", name+" acts, by [[route.replace]]")
		}
	}
	if v.route.ProxySend != header.None {
		line("PROXY header", "was sent, without a client; the server must be configured to accept it from this machine")
	}
	if v.route.XCLIENTSend != rewrite.XCLIENTNever {
		line("XCLIENT", "is for a server that trusts this machine; this check sends that the client is not known")
	}
	if v.route.Source.Client {
		line("source", "this machine's own address, because this check has no client")
	}
	for _, l := range v.logins {
		line(l.means())
	}
	if trouble := v.trouble(); trouble != "" {
		line("FAILED", trouble)
	}
}

// printTLS prints which TLS the server supports.
func (v *visit) printTLS(w io.Writer, line func(name, text string)) {
	mode, s := v.route.ServerTLS.Mode, &v.session
	state := cmp.Or(s.tls.state, v.look.tls.state)
	switch {
	case s.tls.err != nil && mode == rewrite.ServerTLSOpportunistic:
		_, text := tlspolicy.Explain(s.tls.err)
		line("TLS", "fails, so mail goes in clear: "+text)
	case s.end.Server != "" && state == nil && s.tls.err == nil:
		line("TLS", "is not offered")
	}
	if state == nil {
		return
	}
	use := ""
	if mode == rewrite.ServerTLSOff {
		use = "; offered, and used if the client begins it with the server"
		if v.route.ClientTLS.Mode != rewrite.ClientTLSPass {
			use = "; offered, and not used: server_tls.mode is off"
		}
	} else if s.tls.err != nil {
		use = "; if its certificate is not verified"
	}
	line("TLS", tlspolicy.Version(state.Version)+", "+tlspolicy.Suite(state.CipherSuite)+use)
	switch {
	case s.tls.classic && s.tls.err == nil:
		line("key exchange", "the handshake fails with ML-KEM, and succeeds without: "+
			`key_exchange = "classic" saves a connection an hour`)
	case s.tls.err != nil && v.look.tls.state != nil && !v.look.tls.classic:
		line("key exchange", "this was the reply to a ClientHello without ML-KEM, which fits one packet")
	}
	p := tlsPrinter{w: w, now: time.Now()}
	info := tlspolicy.Inspect(state.PeerCertificates[0])
	p.line("certificate", p.described(info))
	p.fingerprint("SHA-256", info.Fingerprint)
}

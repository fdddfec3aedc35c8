package rewrite_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// peers are a client and a server that do what the fuzzer says.
type peers struct {
	*testing.T
	d      *rewrite.Dialogue
	policy *rewrite.Policy
	data   []byte // what the fuzzer has left to say
	polite bool   // they mostly say what the other waits for
	said   int    // polite commands
	odd    bool   // they also say what only some systems say
	got    *reached

	auths                int  // AUTH commands whose end is yet to be told
	fed                  int  // the code of the reply that is being given
	clientTLS, serverTLS bool // handshakes that were done
	introduced           bool // XCLIENT was said to the server
}

func (p *peers) pick(n int) int {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b) % n
}

var fuzzCommands = []string{
	"EHLO client.example.net", "EHLO sub2.", "HELO my_host", "EHLO", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>",
	"DATA", "RSET", "NOOP", "QUIT", "STARTTLS", "X-ANONYMOUSTLS", "BDAT 20", "BDAT 0 LAST", "BDAT  20 ", "BDAT x", "AUTH LOGIN",
	"AUTH NTLM", "AUTH NTLM TlRMTVNTUAABAAAA", "XAUTH", "XAUTH NTLM TlRMTVNTUAABAAAA", "XAUTH TlRMTVNTUAABAAAA",
	"X-EXPS NTLM", "VRFY b", "XCLIENT ADDR=192.0.2.1", "TURN", "XYZZY", "", "NOOP\x00", "NOOP\rQUIT",
	"XCLIENT NAME=client.example.org ADDR=IPV6:2001:db8::7 HELO=client.example.org", "XCLIENT",
	"AUTH PLAIN", "AUTH PLAIN AHVzZXIAc2VjcmV0", "AUTH LOGIN dXNlcg==", "mail from:<a@example.com> AUTH=<> BODY=8BITMIME",
	"RCPT TO:<Joe <b@example.net>>", "RCPT TO:<joe..b.@example.net>", "ETRN example.net",
}

var fuzzReplies = []string{
	"250 ok", "250-mail.example.com\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS", "250-mail.example.com\r\n250 STARTTLS",
	"250-mail.example.com\r\n250 AUTH NTLM LOGIN", "250-mail.example.com\r\n250 XAUTH", "220 mail.example.com", "354 go on",
	"354-go\r\n354 on", "334 ", "334 TlRMTVNTUAACAAAA", "235 ok", "221 bye", "421 going", "451 later", "500 what?", "501 Syntax",
	"501 Invalid Address", "502 no", "504 no", "505 Must issue a STARTTLS command first", "550 no", "554-no\r\n554 no", "250",
	"220-mail.example.com\r\n220 ESMTP", "250-a\r\n550 b", "hello?",
	"250-mail.example.com\r\n250-XCLIENT NAME ADDR PROTO HELO\r\n250 STARTTLS", "250-mail.example.com\r\n250 XCLIENT ADDR",
	"250-mail.example.com\r\n250-AUTH=LOGIN PLAIN\r\n250-8BITMIME\r\n250 SIZE 0", "503 Sender already specified", "535 no", "334 VXNlcm5hbWU6",
	"220 *************",
}

// oddCommands, oddReplies and oddHellos are of systems in the catalogue.
var (
	oddCommands = []string{
		"MAIL FROM: <a@example.com>", "MAIL FROM:a@example.com SIZE=10 RET=HDRS", "MAIL FROM:<> AUTH=<> BODY=8BITMIME", "RCPT TO:<@a.example,@b.example:c@example.com>",
		"RCPT TO:<User <b@example.net>>", "rcpt to:<'b@example.net'> NOTIFY=NEVER", "RCPT TO:<b@[192.0.2.1]>", "RCPT TO:<b%example.net@example.com>", "DATA ",
		"AUTH LOGIN dXNlcg==", "AUTH PLAIN", "AUTH PLAIN =", "AUTH XOAUTH2 dXNlcg==", "ETRN example.com", "HELP", "GET / HTTP/1.0", "Subject: text", "  ", "helo printer",
		"EHLO my host", "EHLO 192.0.2.7", "ATRN", "XEXCH50 10 2", "EXPN list", "MAIL FROM:<a@example.com> SMTPUTF8",
	}
	oddReplies = []string{
		"220 ***********2***0***", "220 All set, fire away", "220 ", "421 4.7.0 later", "452 4.5.3 too many recipients", "552 Too many recipients", "522 no",
		"550 4.7.1 no", "503 Sender already specified", "220 OK", "241 help", "334", "334 ntlm supported", "334 VXNlciBOYW1lAA==", "250", "354", "550 Huh?", "500 5.3.3 Unrecognized command 'unknown'", "535 5.7.3 no", "553 malformed address:",
		"454 TLS currently unavailable", "251 b", "252 perhaps", "250 caf\xe9", "554 " + strings.Repeat("x", 600), "250 ok\n", "250\tok", "250ok", "250-a\r\n251 b",
	}
	oddHellos = []string{
		"250-a\r\n250-XXXXXXXA\r\n250 XXXA", "250-a\r\n250-AUTH=LOGIN\r\n250-AUTH\r\n250-8bitmime\r\n250-SIZE 0\r\n250 OK",
		"250-a\r\n250-AUTH LOGIN\r\n250-AUTH PLAIN LOGIN\r\n250-X-EXPS NTLM\r\n250 DSN", "250-a\r\n250-SIZE\r\n250-SMTPUTF8\r\n250-ETRN\r\n250 TURN",
		"250-a\r\n250 TLS", "250-a\r\n250 AUTH PLAIN", "250-a\r\n250 " + strings.Repeat("b ", 300), "502 no", "503 no", "501 Invalid Address",
	}
)

// also is a table, with odd lines behind it if the peers say such.
func (p *peers) also(table, odd []string) []string {
	if !p.odd {
		return table
	}
	return slices.Concat(table, odd)
}

// line takes a line of the table, or one of the fuzzer's own.
func (p *peers) line(table []string) []byte {
	if p.polite && p.pick(16) > 0 {
		return []byte(table[p.pick(len(table))] + "\r\n")
	}
	if i := p.pick(len(table) + 2); i < len(table) {
		return []byte(table[i] + "\r\n")
	}
	n := min(p.pick(64), len(p.data))
	own := p.data[:n]
	p.data = p.data[n:]
	if end := bytes.IndexByte(own, '\n'); end >= 0 {
		own = own[:end]
	}
	return append(bytes.Clone(own), "\r\n"[p.pick(2):]...)
}

// politeCommands get a client through a session.
var politeCommands = []string{
	"EHLO client.example.net", "STARTTLS", "EHLO client.example.net", "AUTH LOGIN", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>",
	"DATA", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "BDAT 20", "BDAT 20 LAST", "AUTH NTLM TlRMTVNTUAABAAAA",
}

// command is the client's next command.
func (p *peers) command() []byte {
	if !p.polite || p.pick(8) == 0 || p.odd && p.pick(4) == 0 {
		return p.line(p.also(fuzzCommands, oddCommands))
	}
	p.said += 1 + p.pick(8)/7 // sometimes one is left out
	return []byte(politeCommands[(p.said-1)%len(politeCommands)] + "\r\n")
}

// fitting are replies of which each may be the one that is awaited.
func (p *peers) fitting() []string {
	v := p.d.Told()
	if v == rewrite.VerbOther {
		v = p.d.Awaited()
	}
	switch {
	case v == rewrite.VerbEHLO:
		return p.also([]string{fuzzReplies[1], fuzzReplies[2], fuzzReplies[3], fuzzReplies[4], fuzzReplies[26], "250-mail.example.com\r\n250-CHUNKING\r\n250 AUTH LOGIN"}, oddHellos)
	case v == rewrite.VerbDATA:
		return []string{"354 go on"}
	case v == rewrite.VerbSTARTTLS, v == rewrite.VerbAnonymousTLS:
		return []string{"220 go on"}
	case v == rewrite.VerbAUTH, v == rewrite.VerbXAUTH, v == rewrite.VerbXEXPS:
		return []string{"334 VXNlcm5hbWU6", "235 ok"}
	}
	return []string{"250 ok"}
}

func (p *peers) step(next rewrite.Next) {
	d := p.d
	switch next {
	case rewrite.AwaitServer:
		if p.pick(8) == 0 {
			d.Lost()
			return
		}
		p.serverTLS, p.introduced = p.policy.ServerTLS == rewrite.ServerTLSImplicit, false
		greetings := []string{"220 mail.example.com", "220-mail.example.com\r\n220 ESMTP", "554 no", "354 go on"}
		if p.polite {
			greetings = greetings[:2]
		}
		greetings = append(greetings, "220 All set, fire away", "220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready",
			"220 mail.example.com ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready", "220 *******2*0")
		p.reply(greetings, d.Greeting)
	case rewrite.AwaitReply:
		p.server()
	case rewrite.AwaitCommand:
		switch p.pick(24) {
		case 0:
			p.server()
		case 1:
			d.TooLong(p.pick(8) == 0)
		default:
			line := p.command()
			if outstanding := d.Outstanding(); !d.Command(line, p.pick(8) == 0) && outstanding == 0 {
				p.Fatalf("%q was not taken, though nothing is outstanding", line)
			}
		}
	case rewrite.AwaitSASL:
		d.SASL(p.line([]string{"*", "dXNlcg==", "TlRMTVNTUAADAAAA", "QUIT"}))
	case rewrite.AwaitMessage:
		switch p.pick(8) {
		case 0:
			p.server()
		case 1:
			d.MessageLost()
		default:
			p.message()
		}
	case rewrite.AwaitDiscard:
		d.MessageEnd(5)
	case rewrite.AwaitChunk, rewrite.AwaitChunkDiscard:
		d.ChunkEnd()
	case rewrite.AwaitChunkText:
		p.chunkText()
	case rewrite.AwaitClientTLS:
		d.ClientTLS()
		p.clientTLS = true
	case rewrite.AwaitServerTLS:
		switch p.pick(4) {
		case 0:
			d.ServerTLSFailed()
			return
		case 1:
			d.ServerTLSLost()
			return
		}
		p.serverTLS = true
		d.ServerTLS()
	case rewrite.AwaitWork:
		d.Work(p.Context())
		d.Worked()
	case rewrite.AwaitAdmission:
		d.Admitted([...]vocabulary.Rejection{vocabulary.RejectionClients, "", "", vocabulary.RejectionSessions}[p.pick(4)])
	case rewrite.AwaitOctets:
		d.Octets(p.line(append(fuzzCommands, "\x00\x00\x00\x26\x90\x80")))
	}
}

// message is a message that goes by DATA, to its end or to a refusal.
func (p *peers) message() {
	long := strings.Repeat("x", 500*p.pick(4))
	in := []byte([]string{"a\r\n", "h: y\r\n\r\na\n.b\r\n", "\r\na\rb\x00\r\n", ""}[p.pick(4)] + long + "\r\n.\r\n")
	out := byDATA(p.d.Text(), in, p.pick(8)%len(in))
	if why := p.d.Text().Refusal(); why != "" {
		p.d.RefuseMessage(why)
	} else if !bytes.HasSuffix(append([]byte("\r\n"), out...), []byte("\r\n.\r\n")) {
		p.Fatalf("%q becomes %q", in, out)
	}
	p.d.MessageEnd(int64(len(in)))
}

// chunkText is a chunk that goes on as text, to its end or to a refusal.
func (p *peers) chunkText() {
	d := p.d
	switch p.pick(6) {
	case 0:
		d.RefuseChunk("554 5.6.0 no")
	case 1:
		p.reply(fuzzReplies, func(raw []byte) {
			if !d.EarlyChunkReply(raw) {
				d.Garbage()
			}
		})
	case 2:
		d.Lost()
	default:
		d.Text().Stuff([]byte(".a\nb\x00"))
		if d.ChunkIsLast() {
			d.Text().StuffEnd()
		}
		d.ChunkEnd()
	}
}

// server says something, or goes.
func (p *peers) server() {
	switch p.pick(24) {
	case 0:
		p.d.Lost()
	case 1:
		p.d.Silent()
	default:
		table := p.also(fuzzReplies, oddReplies)
		if p.polite && p.pick(8) > 0 {
			table = p.fitting()
		}
		p.reply(table, func(raw []byte) { p.d.Reply(raw, p.pick(8) == 0, p.pick(8) == 0) })
	}
}

func (p *peers) reply(table []string, give func([]byte)) {
	raw := p.line(table)
	if n, err := rewrite.WholeReply(raw); err != nil || n == 0 {
		if n, made, ok, _ := p.d.Repair(raw, 5000); ok {
			raw = append(made, raw[n:]...)
		}
	}
	if n, err := rewrite.WholeReply(raw); err != nil || n != len(raw) {
		p.d.Garbage()
		return
	}
	p.fed, _ = rewrite.ReplyCode(raw)
	give(raw)
	p.fed = 0
}

// check looks at what the last step wants written.
func (p *peers) check(policy *rewrite.Policy) {
	d := p.d
	for _, out := range [][]byte{d.ToServer, d.ToClient} {
		for line := range bytes.Lines(out) {
			if _, ok := rewrite.CutCRLF(line); !ok {
				p.Fatalf("%q is no line", line)
			}
		}
	}
	if n, err := rewrite.WholeReply(d.ToClient); len(d.ToClient) > 0 && (err != nil || n == 0) {
		p.Fatalf("the client gets %q, which is no reply", d.ToClient)
	}
	serverInClear := policy.ServerTLS == rewrite.ServerTLSRequire && !p.serverTLS && policy.ClientTLS != rewrite.ClientTLSPass
	inClear := serverInClear || policy.ClientTLS == rewrite.ClientTLSRequire && !p.clientTLS
	for line := range bytes.Lines(d.ToServer) {
		switch v := rewrite.ParseVerb(bytes.TrimSuffix(line, []byte("\r\n"))); {
		case v == rewrite.VerbXCLIENT && policy.XCLIENT != rewrite.XCLIENTNever && !serverInClear: // it is ours
			p.introduced = true
		case rewrite.Uncarried.Has(v):
			p.Fatalf("%q is passed on", line)
		case inClear && !rewrite.BeforeHello.Has(v):
			p.Fatalf("%q in clear", line)
		case policy.XCLIENT == rewrite.XCLIENTRequired && !p.introduced && !rewrite.BeforeHello.Has(v):
			p.Fatalf("%q before XCLIENT", line)
		}
	}
	if d.ServerGone() && len(d.ToServer) > 0 {
		p.Fatalf("%q is for a server that has gone", d.ToServer)
	}
	if n := d.Outstanding(); n < 0 || n > rewrite.MaxOutstanding || d.Waits() == rewrite.AwaitReply && n == 0 {
		p.Fatalf("%d replies are outstanding, and the dialogue waits for %d", n, d.Waits())
	}
	d.ToServer, d.ToClient = nil, nil
}

func (p *peers) Applied(rule string)      { p.got.applied[rule]++ }
func (p *peers) Limited(vocabulary.Limit) {}

func (p *peers) Command(v rewrite.Verb) {
	if rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS).Has(v) {
		p.auths++
	}
}

func (p *peers) Authenticated(side vocabulary.Side, _ vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	switch {
	case side == vocabulary.SideClient:
		p.auths--
	case outcome == vocabulary.AuthOK && p.fed/100 != 2:
		p.Fatalf("an exchange with the server is told to have gone well, and the server has said %d", p.fed)
	}
}

// close ends the dialogue: each AUTH of the client's has had one end by then.
func (p *peers) close() {
	p.d.Close()
	if p.auths != 0 && !p.Failed() {
		p.Errorf("%d AUTH commands have no end that was told, or more than one", p.auths)
	}
}

func (p *peers) Broke(rule, why string) { p.Errorf("%s: %s", rule, why) }

func (p *peers) Replied(v rewrite.Verb, code int, _ []byte) {
	if rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbMessage).Has(v) && code < 400 && p.fed/100 != 2 {
		p.Fatalf("the client gets %d for verb %d, and the server has said %d", code, v, p.fed)
	}
}

package rewrite

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// FuzzDialogue has two peers do whatever they like. Whatever they do, lines
// stay lines, nothing goes out in clear where that is forbidden, and the client
// hears of no message that the server did not accept.
func FuzzDialogue(f *testing.F) {
	for _, seed := range [][]byte{
		{}, []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"),
		[]byte("standard session\x10\x20\x30\x40\x50\x60\x70"), bytes.Repeat([]byte{7, 1, 3}, 60),
		bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 20), bytes.Repeat([]byte{0xff, 0x80, 0x05}, 50),
	} {
		f.Add(seed)
	}
	rules := [][]string{nil, {"standard"}, {"standard", "-repeat-ehlo"}, {"exchange-5.0"}, {"fall-back-to-helo"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &peers{T: t, data: data}
		compiled, errs := Compile(rules[p.pick(len(rules))], nil)
		if errs != nil {
			t.Fatal(errs)
		}
		if p.pick(8) == 0 {
			compiled = nil
		}
		policy := &Policy{
			Rules: compiled, Hostname: "relay.example.com", Limits: Limits{Errors: 3}, Chunking: true,
			ClientTLS: ClientTLS(p.pick(len(clientTLSNames))), ServerTLS: ServerTLS(p.pick(len(serverTLSNames))),
			XCLIENT: SendXCLIENT(p.pick(len(xclientNames))), Afresh: p.pick(8) == 0,
		}
		if p.pick(2) == 0 {
			policy.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		p.clientTLS, p.serverTLS = policy.ClientTLS == ClientTLSImplicit, policy.ServerTLS == ServerTLSImplicit
		p.d = New(policy, netip.MustParseAddr("192.0.2.7"), p)
		for steps := 0; len(p.data) > 0 && steps < 1000; steps++ {
			next := p.d.Next(p.pick(2) == 0)
			if next == End || next == Opaque {
				break
			}
			p.step(next)
			p.check(policy)
		}
	})
}

// peers are a client and a server that do what the fuzzer says.
type peers struct {
	*testing.T
	d    *Dialogue
	data []byte

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
	"DATA", "RSET", "NOOP", "QUIT", "STARTTLS", "X-ANONYMOUSTLS", "BDAT 20", "BDAT 0 LAST", "BDAT x", "AUTH LOGIN",
	"AUTH NTLM", "AUTH NTLM TlRMTVNTUAABAAAA", "XAUTH", "XAUTH NTLM TlRMTVNTUAABAAAA", "XAUTH TlRMTVNTUAABAAAA",
	"X-EXPS NTLM", "VRFY b", "XCLIENT ADDR=192.0.2.1", "TURN", "XYZZY", "", "NOOP\x00", "NOOP\rQUIT",
	"XCLIENT NAME=client.example.org ADDR=IPV6:2001:db8::7 HELO=client.example.org", "XCLIENT",
}

var fuzzReplies = []string{
	"250 ok", "250-mail.example.com\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS", "250-mail.example.com\r\n250 STARTTLS",
	"250-mail.example.com\r\n250 AUTH NTLM LOGIN", "250-mail.example.com\r\n250 XAUTH", "220 mail.example.com", "354 go on",
	"354-go\r\n354 on", "334 ", "334 TlRMTVNTUAACAAAA", "235 ok", "221 bye", "421 going", "451 later", "500 what?", "501 Syntax",
	"501 Invalid Address", "502 no", "504 no", "505 Must issue a STARTTLS command first", "550 no", "554-no\r\n554 no", "250",
	"220-mail.example.com\r\n220 ESMTP", "250-a\r\n550 b", "hello?",
	"250-mail.example.com\r\n250-XCLIENT NAME ADDR PROTO HELO\r\n250 STARTTLS", "250-mail.example.com\r\n250 XCLIENT ADDR",
}

// line takes a line of the table, or one of the fuzzer's own.
func (p *peers) line(table []string) []byte {
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

func (p *peers) step(next Next) {
	d := p.d
	switch next {
	case AwaitServer:
		if p.pick(8) == 0 {
			d.Lost()
			return
		}
		p.serverTLS, p.introduced = d.policy.ServerTLS == ServerTLSImplicit, false
		p.reply([]string{"220 mail.example.com", "220-mail.example.com\r\n220 ESMTP", "554 no", "354 go on"}, d.Greeting)
	case AwaitReply:
		p.server()
	case AwaitCommand:
		switch p.pick(24) {
		case 0:
			p.server()
		case 1:
			d.TooLong()
		default:
			line := p.line(fuzzCommands)
			if outstanding := d.Outstanding(); !d.Command(line, p.pick(8) == 0) && outstanding == 0 {
				p.Fatalf("%q was not taken, though nothing is outstanding", line)
			}
		}
	case AwaitSASL:
		d.SASL(p.line([]string{"*", "dXNlcg==", "TlRMTVNTUAADAAAA", "QUIT"}))
	case AwaitMessage:
		switch p.pick(8) {
		case 0:
			p.server()
		case 1:
			d.MessageLost()
		default:
			d.MessageEnd(5)
		}
	case AwaitDiscard:
		d.MessageEnd(5)
	case AwaitChunk, AwaitChunkDiscard:
		d.ChunkEnd()
	case AwaitClientTLS:
		d.ClientTLS()
		p.clientTLS = true
	case AwaitServerTLS:
		if p.pick(3) == 0 {
			d.ServerTLSFailed()
			return
		}
		p.serverTLS = true
		d.ServerTLS()
	case AwaitAdmission:
		d.Admitted(p.pick(4) > 0)
	case AwaitOctets:
		d.Octets(p.line(fuzzCommands))
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
		p.reply(fuzzReplies, func(raw []byte) { p.d.Reply(raw, p.pick(8) == 0, p.pick(8) == 0) })
	}
}

func (p *peers) reply(table []string, give func([]byte)) {
	raw := p.line(table)
	if n, err := ScanReply(raw); err != nil || n != len(raw) {
		p.d.Garbage()
		return
	}
	p.fed, _ = replyCode(raw)
	give(raw)
	p.fed = 0
}

// check looks at what the last step wants written.
func (p *peers) check(policy *Policy) {
	d := p.d
	for _, out := range [][]byte{d.ToServer, d.ToClient} {
		for line := range bytes.Lines(out) {
			if _, ok := cutCRLF(line); !ok {
				p.Fatalf("%q is no line", line)
			}
		}
	}
	if n, err := ScanReply(d.ToClient); len(d.ToClient) > 0 && (err != nil || n == 0) {
		p.Fatalf("the client gets %q, which is no reply", d.ToClient)
	}
	serverInClear := policy.ServerTLS == ServerTLSRequire && !p.serverTLS && policy.ClientTLS != ClientTLSPass
	inClear := serverInClear || policy.ClientTLS == ClientTLSRequire && !p.clientTLS
	for line := range bytes.Lines(d.ToServer) {
		switch v := parseVerb(bytes.TrimSuffix(line, crlf)); {
		case v == VerbXCLIENT && policy.XCLIENT != XCLIENTNever && !serverInClear: // it is ours
			p.introduced = true
		case uncarried.has(v):
			p.Fatalf("%q is passed on", line)
		case inClear && !beforeHello.has(v):
			p.Fatalf("%q in clear", line)
		case policy.XCLIENT == XCLIENTRequired && !p.introduced && !beforeHello.has(v):
			p.Fatalf("%q before XCLIENT", line)
		}
	}
	if d.ServerGone() && len(d.ToServer) > 0 {
		p.Fatalf("%q is for a server that has gone", d.ToServer)
	}
	if n := d.Outstanding(); n < 0 || n > len(d.sent.verbs) || d.next == AwaitReply && n == 0 {
		p.Fatalf("%d replies are outstanding, and the dialogue waits for %d", n, d.next)
	}
	d.ToServer, d.ToClient = nil, nil
}

func (p *peers) Command(Verb)   {}
func (p *peers) Applied(string) {}
func (p *peers) Limited(string) {}

func (p *peers) Broke(rule string) { p.Errorf("%s made something that is no line", rule) }

func (p *peers) Replied(v Verb, code int) {
	if v == VerbMessage && code < 400 && p.fed/100 != 2 {
		p.Fatalf("the client gets %d for a message, and the server has said %d", code, p.fed)
	}
}

// FuzzReply: what ScanReply takes for whole replies is made of lines, and is
// the same however it is split.
func FuzzReply(f *testing.F) {
	for _, seed := range fuzzReplies {
		f.Add([]byte(seed + "\r\n"))
	}
	f.Add([]byte("250 ok\n"))
	f.Add([]byte("250-a\r\n250 b\r\n250 c\r\n"))
	f.Add([]byte("250\r\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ScanReply(b)
		if n < 0 || n > len(b) {
			t.Fatalf("%d octets of %d", n, len(b))
		}
		for i := range b {
			if m, e := ScanReply(b[:i]); m != 0 && (m != n || (e == nil) != (err == nil)) {
				t.Fatalf("with %d octets: %d, %v; with all: %d, %v", i, m, e, n, err)
			}
		}
		if n == 0 || err != nil {
			return
		}
		raw := b[:n]
		for line := range bytes.Lines(raw) {
			if text, ok := cutCRLF(line); !ok || !hasCode(text) {
				t.Fatalf("%q is no line of a reply", line)
			}
		}
		code, err := replyCode(raw)
		if err != nil {
			return
		}
		r := parseReply(raw)
		if made := r.appendTo(nil); r.Code != code || !bytes.Equal(trimEnds(made), trimEnds(raw)) {
			t.Fatalf("%q becomes %q", raw, made)
		}
	})
}

// trimEnds makes a line that is only a code the same as one with a blank behind it.
func trimEnds(raw []byte) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		out = append(append(out, strings.TrimSuffix(strings.TrimSuffix(string(line), "\r\n"), " ")...), '\n')
	}
	return out
}

// FuzzCommand: one command either passes, as it came or as one line, or is
// answered, and nothing of it gets to the server twice.
func FuzzCommand(f *testing.F) {
	for _, seed := range fuzzCommands {
		f.Add([]byte(seed + "\r\n"))
	}
	f.Add([]byte("EHLO b\xc3\xbccher.example.net.\r\n"))
	f.Add([]byte("NOOP\n"))
	rules := standard(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[:i+1]
		}
		d, k := begin(t, rules)
		if !d.Command(raw, false) {
			t.Fatalf("%q was not taken", raw)
		}
		if (len(d.ToServer) == 0) == (len(d.ToClient) == 0) {
			t.Fatalf("the server gets %q, and the client %q", d.ToServer, d.ToClient)
		}
		if len(d.ToServer) == 0 {
			return
		}
		verb := parseVerb(bytes.TrimSuffix(raw, crlf))
		if line, ok := cutCRLF(d.ToServer); !ok || parseVerb(line) != verb || uncarried.has(verb) {
			t.Fatalf("%q becomes %q", raw, d.ToServer)
		}
		if len(k.broke) > 0 || !hello.has(verb) && !bytes.Equal(raw, d.ToServer) {
			t.Fatalf("%q becomes %q; broken: %q", raw, d.ToServer, k.broke)
		}
	})
}

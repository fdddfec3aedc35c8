package rewrite_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
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
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &peers{T: t, data: data}
		compiled, errs := heal.Compile(p.rules())
		if errs != nil {
			t.Fatal(errs)
		}
		if p.pick(8) == 0 {
			compiled = nil
		}
		policy := &rewrite.Policy{
			Rules: compiled, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 3},
			ClientTLS: rewrite.ClientTLS(p.pick(rewrite.ClientTLSModes)), ServerTLS: rewrite.ServerTLS(p.pick(rewrite.ServerTLSModes)),
			XCLIENT: rewrite.SendXCLIENT(p.pick(rewrite.XCLIENTModes)), Afresh: p.pick(8) == 0,
		}
		p.policy = policy
		if p.pick(2) == 0 {
			policy.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		p.clientTLS, p.serverTLS = policy.ClientTLS == rewrite.ClientTLSImplicit, policy.ServerTLS == rewrite.ServerTLSImplicit
		defer func() { p.d.Close() }()
		p.d = rewrite.New(policy, netip.MustParseAddr("192.0.2.7"), p)
		for steps := 0; len(p.data) > 0 && steps < 1000; steps++ {
			next := p.d.Next(p.pick(2) == 0)
			if next == rewrite.End || next == rewrite.Opaque {
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
	d      *rewrite.Dialogue
	policy *rewrite.Policy
	data   []byte

	fed                  int  // the code of the reply that is being given
	clientTLS, serverTLS bool // handshakes that were done
	introduced           bool // XCLIENT was said to the server
}

// rules are those that the fuzzer chooses, with options that it chooses.
func (p *peers) rules() (names []string, options map[string]map[string]any) {
	options = map[string]map[string]any{}
	if p.pick(4) == 0 {
		return []string{"standard"}, options
	}
	for _, r := range heal.Table() {
		if p.pick(2) == 0 {
			continue
		}
		names = append(names, r.Name)
		options[r.Name] = map[string]any{}
		for _, o := range append(r.Options, rewrite.ScopeOptions()...) {
			if v := p.option(o); v != nil {
				options[r.Name][o.Name] = v
			}
		}
	}
	return names, options
}

// option chooses the value of an option; nil is its default.
func (p *peers) option(o rewrite.Option) any {
	if o.Name == "keywords" {
		return []string{"PIPELINING", "STARTTLS"}[:1+p.pick(2)]
	}
	if p.pick(3) > 0 {
		return nil
	}
	switch {
	case o.Name == "clients":
		return []any{[]any{"192.0.2.0/24", "198.51.100.0/24"}[p.pick(2)]}
	case o.Name == "hello" || o.Name == "banner":
		return []any{"example", "nobody"}[p.pick(2)]
	case o.Values != nil:
		return o.Values[p.pick(len(o.Values))]
	}
	switch o.Default.(type) {
	case int64:
		return int64(p.pick(int(min(o.Most, 255)) + 1))
	case map[string]string:
		return map[string]any{"sub2.": "mapped.example.com"}
	}
	return "other.example.com"
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

func (p *peers) step(next rewrite.Next) {
	d := p.d
	switch next {
	case rewrite.AwaitServer:
		if p.pick(8) == 0 {
			d.Lost()
			return
		}
		p.serverTLS, p.introduced = p.policy.ServerTLS == rewrite.ServerTLSImplicit, false
		p.reply([]string{"220 mail.example.com", "220-mail.example.com\r\n220 ESMTP", "554 no", "354 go on"}, d.Greeting)
	case rewrite.AwaitReply:
		p.server()
	case rewrite.AwaitCommand:
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
	case rewrite.AwaitSASL:
		d.SASL(p.line([]string{"*", "dXNlcg==", "TlRMTVNTUAADAAAA", "QUIT"}))
	case rewrite.AwaitMessage:
		switch p.pick(8) {
		case 0:
			p.server()
		case 1:
			d.MessageLost()
		default:
			d.MessageEnd(5)
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
		if p.pick(3) == 0 {
			d.ServerTLSFailed()
			return
		}
		p.serverTLS = true
		d.ServerTLS()
	case rewrite.AwaitAdmission:
		d.Admitted(p.pick(4) > 0)
	case rewrite.AwaitOctets:
		d.Octets(p.line(fuzzCommands))
	}
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
		p.reply(fuzzReplies, func(raw []byte) { p.d.Reply(raw, p.pick(8) == 0, p.pick(8) == 0) })
	}
}

func (p *peers) reply(table []string, give func([]byte)) {
	raw := p.line(table)
	if n, err := rewrite.ScanReply(raw); err != nil || n != len(raw) {
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
	if n, err := rewrite.ScanReply(d.ToClient); len(d.ToClient) > 0 && (err != nil || n == 0) {
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

func (p *peers) Command(rewrite.Verb)     {}
func (p *peers) Applied(string)           {}
func (p *peers) Limited(vocabulary.Limit) {}

func (p *peers) Broke(rule, why string) { p.Errorf("%s: %s", rule, why) }

func (p *peers) Replied(v rewrite.Verb, code int, _ []byte) {
	if v == rewrite.VerbMessage && code < 400 && p.fed/100 != 2 {
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
		n, err := rewrite.ScanReply(b)
		if n < 0 || n > len(b) {
			t.Fatalf("%d octets of %d", n, len(b))
		}
		for i := range b {
			if m, e := rewrite.ScanReply(b[:i]); m != 0 && (m != n || (e == nil) != (err == nil)) {
				t.Fatalf("with %d octets: %d, %v; with all: %d, %v", i, m, e, n, err)
			}
		}
		if n == 0 || err != nil {
			return
		}
		raw := b[:n]
		for line := range bytes.Lines(raw) {
			if text, ok := rewrite.CutCRLF(line); !ok || !rewrite.HasCode(text) {
				t.Fatalf("%q is no line of a reply", line)
			}
		}
		code, err := rewrite.ReplyCode(raw)
		if err != nil {
			return
		}
		r := rewrite.ParseReply(raw)
		if made := r.AppendTo(nil); r.Code != code || !bytes.Equal(trimEnds(made), trimEnds(raw)) {
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
		verb := rewrite.ParseVerb(bytes.TrimSuffix(raw, []byte("\r\n")))
		if line, ok := rewrite.CutCRLF(d.ToServer); !ok || rewrite.ParseVerb(line) != verb || rewrite.Uncarried.Has(verb) {
			t.Fatalf("%q becomes %q", raw, d.ToServer)
		}
		if len(k.broke) > 0 || !rewrite.Hellos.Has(verb) && !bytes.Equal(raw, d.ToServer) {
			t.Fatalf("%q becomes %q; broken: %q", raw, d.ToServer, k.broke)
		}
	})
}

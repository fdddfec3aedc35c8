package rewrite_test

import (
	"bytes"
	"net/netip"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// FuzzRepairOracle feeds rules that it picks what a hostile server says, cut
// anywhere, while it has one command after the other to answer. Whatever they
// make of it, the client hears a yes to a command only if the server has said one
// since it was asked, with no refusal in the same reply.
func FuzzRepairOracle(f *testing.F) {
	for _, seed := range []string{
		"250-ok\r\n550 no\r\n", "550-no\r\n250 ok\r\n", "\r\n250 ok\n\n550 no\r\n", "250\r\n250 Ok 1\r\n500 closing\r\n",
		"250 a\r\n250 b\r\n250 c", "250\tok\r\n", "250ok\r550 no\r\n", "354 go\r\n250 early\r\n", "221 bye\r\n", "\xff\xfb\x01550 no\r\n",
		"hello\r\n250 ok\r\n", "5250 ok\r\n", "250-\n\n354\n", "220-a\r\n521 b\r\n",
	} {
		for cut := range 4 {
			f.Add([]byte(seed), []byte(seed), uint8(cut), []byte{0}) // standard
			f.Add([]byte(seed), []byte(seed), uint8(cut), []byte{4}) // all
		}
		for i := range heal.Table() {
			f.Add([]byte(seed), []byte(seed), uint8(2), []byte{2, byte(i)})
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte, cut uint8, choice []byte) {
		if len(first)+len(second) > 1<<10 {
			return
		}
		names, options := chooseRules(pickFrom(choice))
		rules := compileChosen(t, names, options)
		o := &oracle{T: t, cut: int(cut)}
		o.d = rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com"}, netip.MustParseAddr("192.0.2.7"), &o.kept)
		defer o.d.Close()
		o.d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		for _, said := range [][]byte{first, second, first} {
			if !o.ask() {
				return
			}
			o.answer(said)
		}
	})
}

// An oracle is a dialogue of which it is known what the server was asked, and what
// it has said since.
type oracle struct {
	*testing.T
	kept
	d      *rewrite.Dialogue
	cut    int
	buffer []byte // said and not read
	since  []byte // said since the server was asked, and what was unread then
}

// ask says the next command, unless the session has ended or waits for a message.
// What is unread then, and cannot be dropped, ends the session.
func (o *oracle) ask() bool {
	o.drop()
	if len(o.buffer) > 0 || o.d.Next(false) != rewrite.AwaitCommand {
		return false
	}
	o.d.Command([]byte("RCPT TO:<b@example.com>\r\n"), false)
	o.d.ToServer, o.d.ToClient, o.codes, o.since = nil, nil, nil, nil
	return true
}

// drop has the rules drop what nobody has asked for.
func (o *oracle) drop() {
	for range 16 {
		n, made, ok := o.d.RepairUnasked(o.buffer)
		if !ok {
			return
		}
		o.buffer = append(bytes.Clone(made), o.buffer[n:]...)
		if len(made) > 0 {
			return
		}
	}
}

// answer has the server say octets, in two segments, and the dialogue read a reply.
func (o *oracle) answer(said []byte) {
	at := min(o.cut, len(said))
	for _, segment := range [][]byte{said[:at], said[at:]} {
		o.buffer, o.since = append(o.buffer, segment...), append(o.since, segment...)
		o.read()
	}
	for _, code := range o.codes {
		if class := worstOf(firstReplyOf(string(o.since))); code < 400 && (class == 0 || class >= '4') {
			o.Fatalf("the server said %q, and the client heard %d", o.since, code)
		}
	}
	if len(o.codes) > 1 {
		o.Fatalf("the server was asked once and said %q, and the client heard %d", o.since, o.codes)
	}
	if len(o.broke) > 0 {
		o.Fatalf("%q broke %q", o.since, o.broke)
	}
}

// read gives the dialogue the reply that it waits for, if that is there.
func (o *oracle) read() {
	for range 16 {
		if o.d.Outstanding() == 0 || len(o.buffer) == 0 {
			return
		}
		n, made, ok, wait := o.d.Repair(o.buffer, 0)
		if ok {
			o.buffer = append(bytes.Clone(made), o.buffer[n:]...)
			continue
		}
		n, err := rewrite.WholeReply(o.buffer)
		switch {
		case wait > 0:
		case err != nil:
			o.d.Garbage()
			o.buffer = nil
		case n > 0:
			raw := o.buffer[:n]
			o.d.Reply(raw, false, n < len(o.buffer))
			o.buffer = o.buffer[n:]
		}
		return
	}
}

// firstReplyOf is what a strict reader takes for the first reply: all up to the
// end of the first line whose code has no hyphen behind it.
func firstReplyOf(octets string) string {
	at := 0
	for i := range len(octets) {
		if octets[i] != '\n' {
			continue
		}
		line := octets[at : i+1]
		at = i + 1
		for len(line) > 0 && (line[0] <= ' ' || line[0] > '~') {
			line = line[1:]
		}
		if worstOf(line) > 0 && (len(line) < 4 || line[3] != '-') {
			return octets[:at]
		}
	}
	return octets
}

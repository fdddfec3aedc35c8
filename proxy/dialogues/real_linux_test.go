package dialogues_test

import (
	"bytes"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/net/bpf"

	"smtpshim/proxy/dialogues"
	"smtpshim/proxy/smtptest/real"
	"smtpshim/rewrite/play"
	"smtpshim/rewrite/transcript"
)

// wellPlayed checks that a modern client's delivery is told whole, and that the standard
// rules leave it as it is.
func wellPlayed(t *testing.T, d *dialogues.Dialogue) {
	t.Helper()
	lines := linesOf(d)
	for _, want := range []string{"EHLO ", "MAIL FROM:<sender@example.com>", "RCPT TO:<recipient@example.com>", " bytes\n", "S: 250 2.0.0 Ok: "} {
		if !strings.Contains(strings.ToUpper(lines), strings.ToUpper(want)) {
			t.Errorf("%q is not in\n%s", want, lines)
		}
	}
	if d.Source != dialogues.Curl && !strings.Contains(strings.ToUpper(lines), "C: QUIT\n") { // curl does not print it
		t.Errorf("QUIT is not in\n%s", lines)
	}
	f := d.File
	f.Rules = []string{"standard"}
	policy, err := play.Policy(&f)
	if err != nil {
		t.Fatal(err)
	}
	r := play.Play(&f, policy, nil)
	for _, refusal := range r.Refusals {
		t.Errorf("there is a refusal: %+v", refusal)
	}
	if r.Unknown.Why != "" || r.Assumed.Why != "" || r.Played != r.Said {
		t.Errorf("played %d of %d lines: %+v, %+v of\n%s", r.Played, r.Said, r.Unknown, r.Assumed, lines)
	}
	for _, l := range r.Lines {
		if l.Side != 0 && l.Mark != transcript.Unchanged {
			t.Errorf("%s: %s", l, l.Rule)
		}
	}
}

// one returns the dialogue in which a message is sent.
func one(t *testing.T, text string, source dialogues.Source) *dialogues.Dialogue {
	t.Helper()
	var with []*dialogues.Dialogue
	for _, d := range read(t, text) {
		if strings.Contains(linesOf(d), "RCPT TO:<recipient@example.com>") || strings.Contains(linesOf(d), "rcpt TO:<recipient@example.com>") {
			with = append(with, d)
		}
	}
	if len(with) != 1 || with[0].Source != source {
		t.Fatalf("there are %d dialogues with a message in %.9000q", len(with), text)
	}
	return with[0]
}

const (
	message = "Subject: x\r\n\r\na line\r\n"
	debug   = "debug_peer_list = 127.0.0.0/8"
)

const pythonSends = `
import smtplib, sys
host, port = sys.argv[1].split(":")
s = smtplib.SMTP(local_hostname="python.example.com")
s.set_debuglevel(1)
s.connect(host, int(port))
s.sendmail("sender@example.com", ["recipient@example.com"], "Subject: x\r\n\r\na line\r\n")
s.quit()
`

func TestWhatRealClientsPrintIsPlayed(t *testing.T) {
	server := real.Postfix(t, real.Options{CA: real.NewCA(t)})
	swaks := func(args ...string) string { out, _ := real.Swaks(t, server.Addr, args...); return out }
	curl := func(args ...string) string { out, _ := real.Curl(t, server.Addr, message, args...); return out }
	for name, c := range map[string]struct {
		source dialogues.Source
		text   string
		inTLS  bool
	}{
		"swaks":            {dialogues.Swaks, swaks(), false},
		"swaks with TLS":   {dialogues.Swaks, swaks("--tls"), true},
		"swaks in a group": {dialogues.Swaks, swaks("--pipeline"), false},
		"curl":             {dialogues.Curl, curl(), false},
		"curl with TLS":    {dialogues.Curl, curl("--ssl-reqd", "--insecure"), true},
		"Python's smtplib": {dialogues.Python, real.Python(t, pythonSends, server.Addr), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := one(t, c.text, c.source)
			if d.InTLS != c.inTLS || !d.Greeted {
				t.Errorf("in TLS: %v, greeted: %v", d.InTLS, d.Greeted)
			}
			wellPlayed(t, d)
		})
	}
	t.Run("msmtp", func(t *testing.T) {
		out, _ := real.Msmtp(t, server.Addr, message)
		wellPlayed(t, one(t, out, dialogues.Msmtp))
	})
}

func TestWhatRealServersLogIsPlayed(t *testing.T) {
	store := real.Postfix(t, real.Options{CA: real.NewCA(t), Settings: []string{debug}})
	relay := real.Postfix(t, real.Options{Relay: store.Addr, Settings: []string{debug}})
	relay.Sendmail(t, message, "-f", "sender@example.com", "recipient@example.com")
	store.Messages(t, 1)
	real.Wait(t, "the log of both", func() bool {
		return strings.Contains(relay.Log(), "status=sent") && strings.Contains(store.Log(), "disconnect from localhost[127.0.0.1] ehlo")
	})
	t.Run("Postfix as a client", func(t *testing.T) { wellPlayed(t, one(t, relay.Log(), dialogues.Postfix)) })
	t.Run("Postfix as a server", func(t *testing.T) { wellPlayed(t, one(t, store.Log(), dialogues.Postfix)) })

	exim := real.Exim(t, real.Options{Relay: store.Addr})
	for name, args := range map[string][]string{"Exim -v": {"-v"}, "Exim -d": {"-d"}} {
		t.Run(name, func(t *testing.T) {
			out := exim.Sendmail(t, message, append(args, "-odi", "-f", "sender@example.com", "recipient@example.com")...)
			d := one(t, out, dialogues.Exim)
			if !d.InTLS {
				t.Error("it is not told that TLS began")
			}
			wellPlayed(t, d)
		})
	}
}

func TestWhatSendmailNotesOfItsSessionsIsPlayed(t *testing.T) {
	server := real.Sendmail(t, real.Options{})
	if out, status := real.Swaks(t, server.Addr); status != 0 {
		t.Fatal(out)
	}
	real.Wait(t, "the session in what sendmail notes", func() bool { return strings.Contains(server.Traffic(t), " >>> 221 ") })
	lines := linesOf(one(t, server.Traffic(t), dialogues.Sendmail))
	for _, want := range []string{"S: 220 sendmail.example.com ESMTP", "C: EHLO ", "C: MAIL FROM:<sender@example.com>", " bytes\n", "S: 250 2.0.0 ", "C: QUIT\nS: 221 2.0.0 "} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in\n%s", want, lines)
		}
	}
}

// onlyOf lets through the packets that go to a TCP port over IPv4, or come from there:
// other tests send mail too, more than there is room for.
func onlyOf(port uint32) []bpf.RawInstruction {
	const source, destination, all = 34, 36, 1 << 18 // behind the headers of Ethernet and IP
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: source, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 2},
		bpf.LoadAbsolute{Off: destination, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipFalse: 1},
		bpf.RetConstant{Val: all}, bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err)
	}
	return filter
}

// TestARealCaptureIsPlayed captures what goes over the loopback interface, where each
// packet passes twice, between a client and Postfix.
func TestARealCaptureIsPlayed(t *testing.T) {
	server := real.Postfix(t, real.Options{})
	at := netip.MustParseAddrPort(server.Addr)
	from, err := pcapgo.NewEthernetHandle("lo")
	if err != nil {
		real.Missing(t, "packets can be captured by root alone: "+err.Error())
	}
	if err := from.SetBPF(onlyOf(uint32(at.Port()))); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	to := pcapgo.NewWriterNanos(&file)
	if err := to.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer ended.Store(true)
		goodbyes := 0
		for goodbyes < 2 { // in and out
			data, info, err := from.ReadPacketData()
			if err == nil {
				err = to.WritePacket(info, data)
			}
			if err != nil {
				done <- err
				return
			}
			if bytes.HasSuffix(data, []byte("221 2.0.0 Bye\r\n")) {
				goodbyes++
			}
		}
		done <- nil
	}()
	if out, status := real.Swaks(t, server.Addr); status != 0 {
		t.Fatal(out)
	}
	real.Wait(t, "the session in the capture", ended.Load)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	from.Close()
	wellPlayed(t, one(t, file.String(), dialogues.Capture))
}

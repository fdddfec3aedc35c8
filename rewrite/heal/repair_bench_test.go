package heal_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A reply that comes in two parts is shown to the rules that mend replies when the first
// is there, and so is one that has a goodbye's code.
func BenchmarkRepair(b *testing.B) {
	for name, octets := range map[string]string{
		"part of a line":  "250-mail.exam",
		"part of a reply": "250-mail.example.com\r\n250-PIPELINING\r\n250-SI",
		"whole reply":     "221 2.0.0 bye\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			rules, _ := heal.Compile([]string{"standard"}, nil)
			d := rewrite.New(&rewrite.Policy{Rules: rules, Turns: rewrite.NewTurns(4)}, netip.Addr{}, deaf{})
			defer d.Close()
			d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
			d.Command([]byte("EHLO client.example.net\r\n"), false)
			reply := []byte(octets)
			b.ReportAllocs()
			for b.Loop() {
				d.Repair(reply, 0)
			}
		})
	}
}

package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// A server may answer once for a recipient that it was given twice. Otherwise a client
// that has sent its next command before it had the first reply waits for each of them.
func TestRepliesOfLMTPSufficeForEachDistinctRecipient(t *testing.T) {
	for _, c := range []struct {
		second    string
		pipelined bool
		suffices  bool
	}{
		{"b@example.net", false, true}, // and so for a client that goes on by itself
		{"b@example.net", true, true},
		{"c@example.net", false, true},
		{"c@example.net", true, false},
	} {
		k := talkUnder(t, &rewrite.Policy{})
		k.client("LHLO client.example.com", "LHLO client.example.com", "")
		k.server("250 mail.example.com", "", "250 mail.example.com")
		for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RCPT TO:<" + c.second + ">"} {
			k.client(line, line, "")
			k.server("250 ok", "", "250 ok")
		}
		k.client("DATA", "DATA", "")
		k.server("354 go on", "", "354 go on")
		k.d.MessageEnd(5)
		if k.d.Suffices() {
			t.Errorf("%+v: no reply suffices", c)
		}
		k.d.Reply([]byte("250 taken\r\n"), c.pipelined, false)
		if got := k.d.Suffices(); got != c.suffices {
			t.Errorf("%+v: one reply suffices: %v", c, got)
		}
	}
}

package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// Octets follow BDAT, and nothing can be said before it.
func TestABDATThatOwesAnEHLOBreaksNoRule(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Rules: compile(t, "repeat-ehlo"), ClientTLS: rewrite.ClientTLSOffer})
	k.hello("CHUNKING")
	k.client("STARTTLS", "", "220 2.0.0 ready to start TLS")
	k.d.ClientTLS()
	k.d.Command([]byte("BDAT 5\r\n"), false)
	if next := k.d.Next(false); next != rewrite.AwaitChunk && next != rewrite.AwaitChunkDiscard {
		t.Errorf("the dialogue waits for %d", next)
	}
	k.acted("", "")
}

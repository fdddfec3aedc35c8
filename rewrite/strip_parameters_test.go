package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
)

// A yes is heard of once: what is remembered does not last longer by each command.
func TestARefusedParameterIsRememberedOnce(t *testing.T) {
	m := counting{memory{}, new(int)}
	policy := underRules(t, []string{"strip-parameters"}, nil)
	k := &talk{T: t}
	k.d = rewrite.New(policy, netip.Addr{}, &k.ledger)
	t.Cleanup(k.d.Close)
	k.d.Serves(m)
	k.server("220 mail.example.com ESMTP", "", "220 mail.example.com ESMTP")
	k.hello("AUTH PLAIN")
	k.client("MAIL FROM:<a@example.com> AUTH=<>", "MAIL FROM:<a@example.com> AUTH=<>", "")
	k.server("501 no", "MAIL FROM:<a@example.com>", "")
	k.server("250 ok", "", "250 ok")
	for range 3 {
		k.client("RSET", "RSET", "")
		k.server("250 ok", "", "250 ok")
		k.client("MAIL FROM:<a@example.com> AUTH=<>", "MAIL FROM:<a@example.com>", "")
		k.server("250 ok", "", "250 ok")
	}
	if *m.times != 1 {
		t.Errorf("it is remembered %d times", *m.times)
	}
}

// counting is a memory that counts what it is told.
type counting struct {
	memory
	times *int
}

func (m counting) Remember(key string, seconds int) {
	*m.times++
	m.memory.Remember(key, seconds)
}

// Only a command that may have to be said again is held.
func TestAStrippedCommandDoesNotHoldTheNextOne(t *testing.T) {
	k := after(t, nil, underRules(t, []string{"strip-parameters"}, nil))
	k.hello("PIPELINING", "SIZE", "AUTH PLAIN")
	k.client("MAIL FROM:<a@example.com> SIZE=9 RET=HDRS", "MAIL FROM:<a@example.com> SIZE=9", "")
	if got := k.d.Next(true); got != rewrite.AwaitCommand {
		t.Errorf("behind a command without a doubt it waits for %v", got)
	}
	k.client("RCPT TO:<b@example.com>", "RCPT TO:<b@example.com>", "")
}

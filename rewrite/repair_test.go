package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// repaired gives a rule's repair of octets to a dialogue that waits for the
// reply to NOOP, or for none.
func repaired(t *testing.T, waits bool, octets string, n int, made string) (ok bool) {
	t.Helper()
	k := newTalk(t, named("mend", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(n, []byte(made)) }}))
	if waits {
		k.client("NOOP", "NOOP", "")
	}
	got, reply, ok, _ := k.d.Repair([]byte(octets), 0)
	if ok && (got != n || string(reply) != made) || ok == (len(k.broke) > 0) || ok != (len(k.applied) == 1) {
		t.Errorf("%q: %d octets become %q, %v; broke %q, counted %q", octets, got, reply, ok, k.broke, k.applied)
	}
	return ok
}

func TestARepairNeverMakesABetterReply(t *testing.T) {
	for _, c := range []struct {
		octets, made string
		ok           bool
	}{
		{"250 ok\n", "250 ok\r\n", true},
		{"250 ok\n", "450 ok\r\n", true},
		{"250 ok\n", "354 ok\r\n", false},
		{"450 no\n", "250 ok\r\n", false},
		{"450 no\n", "354 ok\r\n", false},
		{"450 no\n", "550 no\r\n", true},
		{"550 no\n", "450 no\r\n", false},
		{"354 go on\n", "354 go on\r\n", true},
		{"354 go on\n", "334 go on\r\n", false},
		{"354 go on\n", "250 ok\r\n", false},
		{"354 go on\n", "451 no\r\n", false},
		{"hello\r\n", "250 ok\r\n", false},
		{"hello\r\n", "354 ok\r\n", false},
		{"hello\r\n", "451 no\r\n", true},
		{"250-ok\r\n550 no\r\n", "250 ok\r\n", false},
		{"250-ok\r550 no\r", "250 ok\r\n", false},
		{"250-ok\n\t550 no\n", "250 ok\r\n", false},
		{"250-ok\r\n\x00550 no\r\n", "250 ok\r\n", false},
		{"\xff\xfb\x01550 no\r\n", "250 ok\r\n", false},
		{"250 ok\n", "250 ok\n", false},
		{"250 ok\n", "250-ok\r\n", false},
		{"250 ok\n", "250-ok\r\n550 no\r\n", false},
		{"250 ok\n", "250 ok\r\n250 ok\r\n", false},
		{"250 ok\n", "150 ok\r\n", false},
	} {
		if ok := repaired(t, true, c.octets, len(c.octets), c.made); ok != c.ok {
			t.Errorf("%q becomes %q: %v", c.octets, c.made, ok)
		}
	}
}

func TestARepairDropsOnlyWhatSaysNothing(t *testing.T) {
	for _, c := range []struct {
		waits  bool
		octets string
		n      int
		ok     bool
	}{
		{false, "250 ok\r\n", 8, true},
		{true, "250 ok\r\n", 8, false},
		{false, "550 no\r\n", 8, false},
		{false, "354 ok\r\n", 8, false},
		{true, "hello\r\n250 ok\r\n", 7, true},
		{true, "\xff\xfb\x01250 ok\r\n", 3, true},
		{true, "\xff\xfb\x01550 no\r\n", 11, false},
		{true, "\r\n250 ok\r\n", 2, true},
		{true, "5250 ok\r\n", 1, false},
		{true, "55250 ok\r\n", 2, false},
		{true, "550 250 ok\r\n", 4, false},
		{true, "hello\r\n", 0, false},
		{true, "hello\r\n", -1, false},
		{true, "hello\r\n", 8, false},
	} {
		if ok := repaired(t, c.waits, c.octets, c.n, ""); ok != c.ok {
			t.Errorf("%d octets of %q are dropped: %v", c.n, c.octets, ok)
		}
	}
}

func TestARepairWaitsForFiveSecondsAtMost(t *testing.T) {
	k := newTalk(t,
		named("one", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Wait(60000) }}),
		named("two", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Wait(200) }}))
	for quiet, want := range map[int64]int64{0: 200, 199: 200, 200: 5000, 4999: 5000, 5000: 0} {
		if _, _, ok, wait := k.d.Repair([]byte("250 "), quiet); ok || wait != want {
			t.Errorf("after %d ms the wait is %d ms, not %d", quiet, wait, want)
		}
	}
	if _, _, _, wait := k.d.Repair([]byte(strings.Repeat("x", 65537)), 0); wait != 0 {
		t.Errorf("more than may be looked at is waited for, %d ms", wait)
	}
}

// FuzzRepair: whatever a rule makes, the client never hears of a better class
// than the server has said.
func FuzzRepair(f *testing.F) {
	f.Add([]byte("250-ok\r550 no\r\n"), 15, []byte("250 ok\r\n"), true)
	f.Add([]byte("\xff\xfb\x01550 no\r\n"), 3, []byte(""), false)
	f.Add([]byte("5250 ok\r\n"), 1, []byte(""), true)
	f.Add([]byte("354 go\n"), 7, []byte("250 ok\r\n"), true)
	f.Fuzz(func(t *testing.T, octets []byte, n int, made []byte, waits bool) {
		k := newTalk(t, named("mend", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(n, made) }}))
		if waits {
			k.client("NOOP", "NOOP", "")
		}
		n, reply, ok, _ := k.d.Repair(octets, 0)
		if !ok {
			return
		}
		worst := worstOf(string(octets[:n]))
		if len(reply) == 0 {
			if worst > '2' || worst == '2' && waits {
				t.Fatalf("%q is dropped", octets[:n])
			}
			return
		}
		if whole, err := rewrite.WholeReply(reply); err != nil || whole != len(reply) {
			t.Fatalf("%q is no reply", reply)
		}
		if reply[0] < worst || worst == 0 && reply[0] < '4' || reply[0] == '3' && worst != '3' {
			t.Fatalf("%q becomes %q", octets[:n], reply)
		}
	})
}

// worstOf is the largest class of the codes that some reader sees at the start
// of a line.
func worstOf(octets string) (worst byte) {
	for line := range strings.FieldsFuncSeq(octets, func(c rune) bool { return c == '\r' || c == '\n' }) {
		line = strings.TrimLeftFunc(line, func(c rune) bool { return c <= ' ' || c > '~' })
		if n, err := rewrite.WholeReply([]byte(line[:min(len(line), 3)] + "\r\n")); n > 0 && err == nil {
			worst = max(worst, line[0])
		}
	}
	return worst
}

// A reply to FOO is awaited: the next one would be taken for it.
func TestARepairDropsNoReplyToAnUnknownCommand(t *testing.T) {
	k := newTalk(t, named("drop", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(len(r.Octets()), nil) }}))
	k.client("FOO", "FOO", "")
	if _, _, ok, _ := k.d.Repair([]byte("250 ok\n"), 0); ok {
		t.Error("a rule drops the reply to FOO")
	}
}

// The next reply would be taken for that to the second command.
func TestARepairMakesOneReplyOfOne(t *testing.T) {
	const octets = "250 ok\n550 no\r\n250 ok\r\n"
	for n, want := range map[int]bool{7: true, 15: false, len(octets): false} {
		k := newTalk(t, named("join", rewrite.Actions{Repair: func(r *rewrite.Repair) {
			r.Replace(n, []byte(map[bool]string{true: "250 ok\r\n", false: "550 no\r\n"}[n == 7]))
		}}))
		k.hello("PIPELINING")
		for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>"} {
			k.client(line, line, "")
		}
		if _, _, ok, _ := k.d.Repair([]byte(octets), 0); ok != want {
			t.Errorf("%d octets: %v, broke %q", n, ok, k.whys)
		}
	}
}

func TestARepairLeavesTheReplyToSTARTTLS(t *testing.T) {
	for octets, made := range map[string]string{"250 ok\n": "220 ok\r\n", "220 ok\n": "250 ok\r\n"} {
		k := newTalk(t, named("bad", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(len(r.Octets()), []byte(made)) }}))
		k.client("STARTTLS", "STARTTLS", "")
		if _, _, ok, _ := k.d.Repair([]byte(octets), 0); ok {
			t.Errorf("%q becomes %q", octets, made)
		}
	}
}

package listen

import (
	"slices"
	"strings"
	"testing"
)

// strictly has the client of a strict listener say commands.
func strictly(t *testing.T, commands ...string) (replies []string, faults []string) {
	t.Helper()
	_, addr, visits := start(t, func(l *Listener) { l.Strict = true })
	for i := range commands {
		commands[i] += "\r\n"
	}
	replies = says(t, addr, commands...)
	return replies, names(visit(t, visits).Faults)
}

func TestAStrictListenerRefusesWhatIsWrong(t *testing.T) {
	replies, faults := strictly(t, "EHLO sub2.", "EHLO a.example.com", "MAIL FROM: <a@example.com>", mailFrom+" XOLD=1", mailFrom, rcptTo, "QUIT")
	var codes []string
	for _, r := range replies {
		codes = append(codes, r[:3])
	}
	if want := []string{"501", "250", "501", "555", "250", "250", "221"}; !slices.Equal(codes, want) {
		t.Errorf("the replies are %q", replies)
	}
	if faults != nil {
		t.Errorf("all was said again as it should be, and counts: %q", faults)
	}
}

func TestAStrictListenerCountsWhatIsNotMended(t *testing.T) {
	for want, commands := range map[string][]string{
		"hello-dot":             {"EHLO sub2.", "QUIT"},
		"parameter-not-offered": {"EHLO a.example.com", mailFrom + " XOLD=1", "QUIT"},
		"":                      {"EHLO a.example.com", mailFrom, rcptTo, "RSET", "QUIT"},
	} {
		if _, faults := strictly(t, commands...); strings.Join(faults, " ") != want {
			t.Errorf("%q: the faults are %q", commands, faults)
		}
	}
}

package login

import "testing"

func TestAnAllowedSenderIsThatOneAndNoOtherThatLooksLikeIt(t *testing.T) {
	for _, c := range []struct {
		allowed, address string
		want             bool
	}{
		{"scanner@example.com", "Scanner@EXAMPLE.com", true},
		{"@example.com", "ann@Example.COM", true},
		{"scanner@example.com", "\u017fcanner@example.com", false}, // a long s
		{"@bank.example.com", "ann@ban\u212a.example.com", false},  // the sign of the kelvin
		{"@example.com", "ann@sub.example.com", false},
		{"@example.com", "example.com", false},
		{"@example.com", "ann@badexample.com", false},
	} {
		if got := fits(c.allowed, c.address); got != c.want {
			t.Errorf("%q allows %q: %v", c.allowed, c.address, got)
		}
	}
}

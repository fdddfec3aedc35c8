package heal

import (
	"slices"
	"strings"
	"testing"
)

func TestUntidySaysWhatTidyCommandsWouldFind(t *testing.T) {
	for _, test := range []struct{ said, tidied, found string }{
		{"MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", ""},
		{"MAIL FROM:<a@example.com> SIZE=9 AUTH=<>", "MAIL FROM:<a@example.com> SIZE=9 AUTH=<>", ""},
		{"MAIL FROM: <a@example.com>", "MAIL FROM:<a@example.com>", "colon"},
		{"RCPT TO :a@example.com", "RCPT TO:<a@example.com>", "colon brackets"},
		{"RCPT TO:<Joe <joe@example.com>>", "RCPT TO:<joe@example.com>", "name"},
		{"RCPT TO:<@relay.example.com:joe@example.com>", "RCPT TO:<joe@example.com>", "route"},
		{"RCPT TO:<'joe@example.com'>", "RCPT TO:<joe@example.com>", "apostrophes"},
		{"MAIL FROM:<a.@example.com>", `MAIL FROM:<"a."@example.com>`, "unquoted"},
		{"MAIL FROM:<a@example.com> ", "MAIL FROM:<a@example.com>", "parameters"},
		{"DATA ", "DATA", "end"},
		{"QUIT ", "QUIT ", ""},
	} {
		tidied, found := Untidy([]byte(test.said))
		if tidied != test.tidied || strings.Join(found, " ") != test.found {
			t.Errorf("Untidy(%q) = %q, %q", test.said, tidied, found)
		}
	}
}

func TestHelloFaultsSaysWhatFixHelloNameWouldFind(t *testing.T) {
	for name, want := range map[string][]string{
		"client.example.com": nil, "client": nil, "[192.0.2.1]": nil, "[IPv6:2001:db8::1]": nil,
		"sub2.": {"dot"}, "a_b.": {"dot", "underscore"}, "": {"missing"}, "192.0.2.1": {"address"}, "localhost": {"loopback"},
		"127.0.0.1": {"address", "loopback"}, "bücher.example": {"letters"}, "two words": {"syntax"},
	} {
		if got := HelloFaults(name); !slices.Equal(got, want) {
			t.Errorf("HelloFaults(%q) = %q, not %q", name, got, want)
		}
	}
}

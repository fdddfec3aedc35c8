package sasl_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/login/ntlm"
	"smtpshim/proxy/login/sasl"
)

func TestByNTLMADomainMakesNoDifference(t *testing.T) {
	lookup := users(t, sasl.User{Name: "scanner", Secret: sasl.Password(password)},
		sasl.User{Name: "printer@example.com", Secret: sasl.Password("other")})
	for _, test := range []struct{ said, password, want string }{
		{"scanner", password, "scanner"},
		{`EXAMPLE\Scanner`, password, "scanner"},
		{"scanner@example.com", password, "scanner"},
		{"printer@example.com", "other", "printer@example.com"},
		{`EXAMPLE.COM\PRINTER`, "other", "printer@example.com"},
		{"printer", "other", ""},
		{`EXAMPLE\printer`, "other", ""},
		{"printer@example.com", password, ""},
		{`scanner\printer`, password, ""},
	} {
		s := newServer(t, "NTLM", sasl.Realm{Lookup: lookup})
		c := newClient(t, "NTLM", sasl.Identity{User: test.said, Password: sasl.Password(test.password)})
		err := exchange(c, s, false)
		if s.User() != test.want || errors.Is(err, sasl.ErrRefused) != (test.want == "") {
			t.Errorf("%s: %q has logged in, %v; want %q", test.said, s.User(), err, test.want)
		}
	}
}

func TestAYesBeforeTheAnswerDoesNotCount(t *testing.T) {
	c := newClient(t, "NTLM", sasl.Identity{User: "scanner", Password: sasl.Password(password)})
	if _, err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if sasl.Accept(c) == nil {
		t.Error("it counts")
	}
}

// The three messages are those of [MS-NLMP] 4.2.2 with an answer of zeros: what
// matters is its kind.
func TestNTLMv1IsTakenOnlyWhereItIsAllowed(t *testing.T) {
	const negotiate = "TlRMTVNTUAABAAAAB7IAAAAAAAAAAAAAAAAAAAAAAAA=" // Exim's, with the flags 0x0000b207
	authenticate := base64.StdEncoding.EncodeToString([]byte("NTLMSSP\x00\x03\x00\x00\x00" +
		"\x18\x00\x18\x00\x48\x00\x00\x00" + "\x18\x00\x18\x00\x60\x00\x00\x00" +
		"\x00\x00\x00\x00\x40\x00\x00\x00" + "\x08\x00\x08\x00\x40\x00\x00\x00" + "\x00\x00\x00\x00\x40\x00\x00\x00" +
		"\x00\x00\x00\x00\x40\x00\x00\x00" + "\x05\x82\x00\x00" + "t\x00i\x00m\x00m\x00" + strings.Repeat("\x00", 48)))
	for _, user := range []string{"timm", "other"} {
		for allowed, weak := range map[bool]bool{false: true, true: false} {
			r := sasl.Realm{Lookup: users(t, sasl.User{Name: user, Secret: sasl.Password(password), NTLMv1: allowed})}
			_, err := answers(t, newServer(t, "NTLM", r), "-", negotiate, authenticate)
			if !errors.Is(err, sasl.ErrRefused) || errors.Is(err, ntlm.ErrWeak) != (weak && user == "timm") {
				t.Errorf("%s, allowed %v: %v", user, allowed, err)
			}
		}
	}
}

func TestAChallengeOfNTLMTellsTheTimeOfTheClock(t *testing.T) {
	asked := 0
	r := realm(t, sasl.Password(password))
	r.Now = func() time.Time { asked++; return time.Unix(0, 0) }
	c := newClient(t, "NTLM", sasl.Identity{User: "scanner", Password: sasl.Password(password)})
	if err := exchange(c, newServer(t, "NTLM", r), false); err != nil || asked != 1 {
		t.Errorf("%v, the clock was asked %d times", err, asked)
	}
}

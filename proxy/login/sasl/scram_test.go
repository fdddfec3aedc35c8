package sasl_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/login/sasl"
)

// The examples of RFC 5802, section 5, and RFC 7677, section 3.
var scramExamples = []struct{ mechanism, nonce, first, challenge, final, proof string }{
	{
		"SCRAM-SHA-1", "fyko+d2lbbFgONRv9qkxdawL",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		"SCRAM-SHA-256", "rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

// scramSay says challenges to a client and returns what it answers; "*" is an error.
func scramSay(t *testing.T, c sasl.Client, challenges ...string) []string {
	t.Helper()
	first, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	said := []string{string(first)}
	for _, challenge := range challenges {
		response, err := c.Next([]byte(challenge))
		if err != nil {
			return append(said, "*")
		}
		said = append(said, string(response))
	}
	return said
}

func TestAClientOfSCRAMSaysWhatTheExamplesSay(t *testing.T) {
	for _, e := range scramExamples {
		c := sasl.SCRAMClient(e.mechanism, "user", "pencil", "", e.nonce)
		if got := scramSay(t, c, e.challenge, e.proof); !slices.Equal(got, []string{e.first, e.final, ""}) {
			t.Errorf("%s: the client says %q", e.mechanism, got)
		}
		if err := sasl.Accept(c); err != nil {
			t.Errorf("%s: %v", e.mechanism, err)
		}
	}
}

func TestAYesCountsOnlyFromAServerThatKnowsThePassword(t *testing.T) {
	for _, e := range scramExamples {
		for name, challenges := range map[string][]string{
			"no challenge":          {},
			"no proof":              {e.challenge},
			"an empty proof":        {e.challenge, ""},
			"another proof":         {e.challenge, scramExamples[0].proof[:10] + "AAAAAAAAAAAAAAAAAA="},
			"an error":              {e.challenge, "e=other-error"},
			"a nonce of its own":    {strings.Replace(e.challenge, e.nonce, "x", 1)},
			"no iterations":         {strings.Replace(e.challenge, "i=4096", "i=0", 1)},
			"few iterations":        {strings.Replace(e.challenge, "i=4096", "i=1", 1)},
			"too many iterations":   {strings.Replace(e.challenge, "i=4096", "i=1000001", 1)},
			"iterations overflow":   {strings.Replace(e.challenge, "i=4096", "i=99999999999999999999", 1)},
			"an unknown extension":  {"m=1," + e.challenge},
			"the proof at once":     {e.proof},
			"no message":            {"\x00\xff"},
			"more than there is":    {e.challenge, e.proof, ""},
			"the challenge twice":   {e.challenge, e.challenge},
			"an empty challenge":    {""},
			"a salt that is none":   {strings.Replace(e.challenge, ",s=", ",s=!", 1)},
			"fields in other order": {"i=4096," + e.challenge},
		} {
			c := sasl.SCRAMClient(e.mechanism, "user", "pencil", "", e.nonce)
			got := scramSay(t, c, challenges...)
			cancelled := got[len(got)-1] == "*"
			if name == "no challenge" || name == "no proof" {
				if cancelled {
					t.Errorf("%s: %s: the client says %q", e.mechanism, name, got)
				}
				if sasl.Accept(c) == nil {
					t.Errorf("%s: %s: the yes counts", e.mechanism, name)
				}
				continue
			}
			if !cancelled {
				t.Errorf("%s: %s: the client says %q", e.mechanism, name, got)
			}
			if name != "more than there is" && sasl.Accept(c) == nil {
				t.Errorf("%s: %s: the yes counts", e.mechanism, name)
			}
		}
	}
}

// scramFirst returns the challenge to a first message of a user.
func scramFirst(t *testing.T, r sasl.Realm, mechanism, user string) (s sasl.Server, challenge string) {
	t.Helper()
	s = newServer(t, mechanism, r)
	got, _, err := s.Next([]byte("n,,n=" + user + ",r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	return s, string(got)
}

func TestAServerOfSCRAMTellsNotWhoThereIs(t *testing.T) {
	for _, secret := range []sasl.Secret{sasl.Password(password), hash(t, password)} {
		r := realm(t, secret)
		for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
			salts := map[string]string{}
			for _, name := range []string{"scanner", "other", "nobody", "somebody"} {
				for _, user := range []string{name, strings.ToUpper(name)} {
					_, challenge := scramFirst(t, r, mechanism, user)
					nonce, rest, _ := strings.Cut(challenge, ",")
					if !strings.HasPrefix(nonce, "r=abc") || len(nonce) < 20 || !strings.HasSuffix(rest, ",i=4096") {
						t.Errorf("%s is challenged by %q", user, challenge)
					}
					if before, ok := salts[name]; ok && before != rest {
						t.Errorf("%s: %s is challenged by %q, then by %q", mechanism, name, before, rest)
					}
					for other, salt := range salts {
						if other != name && salt == rest {
							t.Errorf("%s: %s and %s have one salt", mechanism, other, name)
						}
					}
					salts[name] = rest
				}
			}
		}
	}
}

func TestAServerOfSCRAMWantsEachMessageInTurn(t *testing.T) {
	const nonce = "fyko+d2lbbFgONRv9qkxdawL"
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		for _, first := range []string{"", "x", "n,,n=scanner", "p=tls-unique,,n=scanner,r=abc", "n,,m=1,n=scanner,r=abc", "n,,n=a=b,r=c"} {
			s := newServer(t, mechanism, realm(t, sasl.Password(password)))
			if _, done, err := s.Next([]byte(first)); done || !errors.Is(err, sasl.ErrMalformed) {
				t.Errorf("%s: %q: %v, %v", mechanism, first, done, err)
			}
		}
		for _, final := range []string{"", "x", "c=biws,r=abc,p=", "c=biws,r=" + nonce + ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "\x00"} {
			s, _ := scramFirst(t, realm(t, sasl.Password(password)), mechanism, "scanner")
			if challenge, done, err := s.Next([]byte(final)); done || err == nil || challenge != nil || s.User() != "" {
				t.Errorf("%s: %q: %q, %v, %v", mechanism, final, challenge, done, err)
			}
		}

		// Up to our proof all is well: nobody has logged in until it is answered.
		c := sasl.SCRAMClient(mechanism, "scanner", password, "", nonce)
		s := newServer(t, mechanism, realm(t, sasl.Password(password)))
		response, err := c.Start()
		for range 2 {
			if err != nil {
				t.Fatal(err)
			}
			var challenge []byte
			if challenge, _, err = s.Next(response); err != nil {
				t.Fatal(err)
			}
			response, err = c.Next(challenge)
		}
		if s.User() != "" {
			t.Errorf("%s: %q has logged in before the end", mechanism, s.User())
		}
		if _, done, err := s.Next([]byte("x")); done || !errors.Is(err, sasl.ErrMalformed) || s.User() != "" {
			t.Errorf("%s: an answer to the proof: %v, %v", mechanism, done, err)
		}
	}
}

func TestNobodyActsAsSomebodyElseBySCRAM(t *testing.T) {
	for actAs, want := range map[string]error{"": nil, "scanner": nil, "SCANNER": nil, "other": sasl.ErrRefused} {
		for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
			c := sasl.SCRAMClient(mechanism, "scanner", password, actAs, "abc")
			s := newServer(t, mechanism, realm(t, sasl.Password(password)))
			if err := exchange(c, s, false); !errors.Is(err, want) || (s.User() == "Scanner") != (want == nil) {
				t.Errorf("%s with %q: %v, want %v", mechanism, actAs, err, want)
			}
		}
	}
}

func TestASCRAMPasswordMayHoldWhatSASLprepForbids(t *testing.T) {
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		for _, odd := range []string{"I\u00adX", "\u2168", "\u0007", "\U0001f600", "a\u06271"} {
			r := sasl.Realm{Lookup: users(t, sasl.User{Name: "scanner", Secret: sasl.Password(odd)})}
			c := newClient(t, mechanism, sasl.Identity{User: "scanner", Password: sasl.Password(odd)})
			if err := exchange(c, newServer(t, mechanism, r), false); err != nil {
				t.Errorf("%s: %q: %v", mechanism, odd, err)
			}
		}
	}
	// Prepared, these are the same (RFC 4013, section 3).
	r := sasl.Realm{Lookup: users(t, sasl.User{Name: "scanner", Secret: sasl.Password("IX")})}
	c := newClient(t, "SCRAM-SHA-256", sasl.Identity{User: "scanner", Password: sasl.Password("I\u00adX")})
	if err := exchange(c, newServer(t, "SCRAM-SHA-256", r), false); err != nil {
		t.Error(err)
	}
}

func BenchmarkLogin(b *testing.B) {
	lookup, err := sasl.Users(sasl.User{Name: "scanner", Secret: sasl.Password(password)})
	if err != nil {
		b.Fatal(err)
	}
	for _, mechanism := range passwordMechanisms() {
		b.Run(fmt.Sprint(mechanism), func(b *testing.B) {
			for b.Loop() {
				s, _ := sasl.NewServer(mechanism, sasl.Realm{Lookup: lookup})
				c, _ := sasl.NewClient(mechanism, sasl.Identity{User: "scanner", Password: sasl.Password(password)})
				if err := exchange(c, s, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

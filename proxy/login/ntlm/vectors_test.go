package ntlm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

// unhex reads octets as [MS-NLMP] prints them.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// What [MS-NLMP] 4.2.1 says of its examples.
const (
	exampleUser      = "User"
	exampleDomain    = "Domain"
	examplePassword  = "Password"
	exampleChallenge = "01 23 45 67 89 ab cd ef"
)

// The AUTHENTICATE_MESSAGEs of 4.2.2.3, 4.2.3.3 and 4.2.4.3.
const (
	authenticateV1 = `4e 54 4c 4d 53 53 50 00 03 00 00 00 18 00 18 00 6c 00 00 00 18 00 18 00 84 00 00 00
		0c 00 0c 00 48 00 00 00 08 00 08 00 54 00 00 00 10 00 10 00 5c 00 00 00 10 00 10 00 9c 00 00 00
		35 82 80 e2 05 01 28 0a 00 00 00 0f
		44 00 6f 00 6d 00 61 00 69 00 6e 00 55 00 73 00 65 00 72 00
		43 00 4f 00 4d 00 50 00 55 00 54 00 45 00 52 00
		98 de f7 b8 7f 88 aa 5d af e2 df 77 96 88 a1 72 de f1 1c 7d 5c cd ef 13
		67 c4 30 11 f3 02 98 a2 ad 35 ec e6 4f 16 33 1c 44 bd be d9 27 84 1f 94
		51 88 22 b1 b3 f3 50 c8 95 86 82 ec bb 3e 3c b7`
	authenticateSession = `4e 54 4c 4d 53 53 50 00 03 00 00 00 18 00 18 00 6c 00 00 00 18 00 18 00 84 00 00 00
		0c 00 0c 00 48 00 00 00 08 00 08 00 54 00 00 00 10 00 10 00 5c 00 00 00 00 00 00 00 9c 00 00 00
		35 82 08 82 05 01 28 0a 00 00 00 0f
		44 00 6f 00 6d 00 61 00 69 00 6e 00 55 00 73 00 65 00 72 00
		43 00 4f 00 4d 00 50 00 55 00 54 00 45 00 52 00
		aa aa aa aa aa aa aa aa 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
		75 37 f8 03 ae 36 71 28 ca 45 82 04 bd e7 ca f8 1e 97 ed 26 83 26 72 32`
	authenticateV2 = `4e 54 4c 4d 53 53 50 00 03 00 00 00 18 00 18 00 6c 00 00 00 54 00 54 00 84 00 00 00
		0c 00 0c 00 48 00 00 00 08 00 08 00 54 00 00 00 10 00 10 00 5c 00 00 00 10 00 10 00 d8 00 00 00
		35 82 88 e2 05 01 28 0a 00 00 00 0f
		44 00 6f 00 6d 00 61 00 69 00 6e 00 55 00 73 00 65 00 72 00
		43 00 4f 00 4d 00 50 00 55 00 54 00 45 00 52 00
		86 c3 50 97 ac 9c ec 10 25 54 76 4a 57 cc cc 19 aa aa aa aa aa aa aa aa
		68 cd 0a b8 51 e5 1c 96 aa bc 92 7b eb ef 6a 1c
		01 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 aa aa aa aa aa aa aa aa 00 00 00 00
		02 00 0c 00 44 00 6f 00 6d 00 61 00 69 00 6e 00 01 00 0c 00 53 00 65 00 72 00 76 00 65 00 72 00
		00 00 00 00 00 00 00 00
		c5 da d2 54 4f c9 79 90 94 ce 1c e9 0b c9 d0 3e`
)

func TestKeysAreThoseOfTheExamples(t *testing.T) {
	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"NTOWFv1, 4.2.2.1.2", ntowf1(examplePassword), "a4 f4 9c 40 65 10 bd ca b6 82 4e e7 c3 0f d8 52"},
		{"NTOWFv2, 4.2.4.1.1", ntowf2(ntowf1(examplePassword), exampleUser, exampleDomain),
			"0c 86 8a 40 3b fd 7a 93 a3 00 1e f2 2e f0 2e 3f"},
		{"the NTLMv1 response, 4.2.2.2.1", desl(ntowf1(examplePassword), unhex(t, exampleChallenge)),
			"67 c4 30 11 f3 02 98 a2 ad 35 ec e6 4f 16 33 1c 44 bd be d9 27 84 1f 94"},
	} {
		if !bytes.Equal(test.got, unhex(t, test.want)) {
			t.Errorf("%s is % x, want %s", test.name, test.got, test.want)
		}
	}
}

// offering is a NEGOTIATE_MESSAGE with flags.
func offering(flags uint32) []byte {
	return append([]byte(signature+"\x01\x00\x00\x00"), byte(flags), byte(flags>>8), byte(flags>>16), byte(flags>>24))
}

// example begins an exchange with the challenge of the examples.
func example(t testing.TB, flags uint32) *Exchange {
	t.Helper()
	x, err := begin(offering(flags), "server.example.com", time.Unix(0, 0), unhex(t, exampleChallenge))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestAnswersOfTheExamplesAreRight(t *testing.T) {
	for _, test := range []struct {
		name, message string
		flags         uint32
		v2            bool
	}{
		{"4.2.2, NTLMv1", authenticateV1, 0xe2028233, false},
		{"4.2.3, NTLMv1 with a client challenge", authenticateSession, 0x820a8233, false},
		{"4.2.4, NTLMv2", authenticateV2, 0xe28a8233, true},
	} {
		for _, v1 := range []bool{true, false} {
			for _, password := range []string{examplePassword, "password", "", "Password "} {
				a, err := example(t, test.flags).Authenticate(unhex(t, test.message))
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
					continue
				}
				if a.user != exampleUser || a.domain != exampleDomain || a.V2() != test.v2 {
					t.Errorf("%s: %q of %q, v2 %v", test.name, a.user, a.domain, a.V2())
				}
				var want error
				switch {
				case !test.v2 && !v1:
					want = ErrWeak
				case password != examplePassword:
					want = ErrWrong
				}
				if err := a.Check(password, v1); !errors.Is(err, want) {
					t.Errorf("%s, v1 accepted %v, %q: %v, want %v", test.name, v1, password, err, want)
				}
			}
		}
	}
}

// Another challenge is another exchange: what was heard before is of no use.
func TestAnAnswerIsGoodForItsOwnChallenge(t *testing.T) {
	for flags, message := range map[uint32]string{
		0xe2028233: authenticateV1, 0x820a8233: authenticateSession, 0xe28a8233: authenticateV2,
	} {
		x, err := Begin(offering(flags), "server.example.com", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		a, err := x.Authenticate(unhex(t, message))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Check(examplePassword, true); !errors.Is(err, ErrWrong) {
			t.Errorf("with flags %#x: %v", flags, err)
		}
		if _, err := x.Authenticate(unhex(t, message)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a second answer with flags %#x: %v", flags, err)
		}
	}
}

func TestEveryOctetOfTheProofCounts(t *testing.T) {
	for _, test := range []struct {
		message    string
		flags      uint32
		from, upTo int
	}{
		{authenticateV1, 0xe2028233, 0x84, 0x84 + 24},
		{authenticateSession, 0x820a8233, 0x84, 0x84 + 24},
		{authenticateSession, 0x820a8233, 0x6c, 0x6c + 8},
		{authenticateV2, 0xe28a8233, 0x84, 0x84 + 0x54},
	} {
		for at := test.from; at < test.upTo; at++ {
			message := unhex(t, test.message)
			message[at] ^= 1
			a, err := example(t, test.flags).Authenticate(message)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Check(examplePassword, true); !errors.Is(err, ErrWrong) {
				t.Errorf("octet %#x changed: %v", at, err)
			}
		}
	}
}

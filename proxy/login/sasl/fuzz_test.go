package sasl_test

import (
	"errors"
	"strings"
	"testing"

	"smtpshim/proxy/login/sasl"
)

// Nobody logs in without the password, whatever the lines; and every error is of a
// kind that the caller can answer.
func FuzzServer(f *testing.F) {
	for i := range passwordMechanisms() {
		for _, lines := range []string{
			"-", "=", "-\n\n", "AHNjYW5uZXIAcGFzc3dvcmQ=", "c2Nhbm5lcg==\ncGFzc3dvcmQ=", "-\nc2Nhbm5lciBhYmM=",
			"bixhPXgsbj1zY2FubmVyLHI9YWJj\nYz1iaXdzLHI9YWJjLHA9YWJj", "TlRMTVNTUAABAAAAB7IAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		} {
			f.Add(uint8(i), lines)
		}
	}
	lookup, err := sasl.Users(sasl.User{Name: "scanner", Secret: sasl.Password(password), NTLMv1: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		mechanisms := passwordMechanisms()
		mechanism := mechanisms[int(which)%len(mechanisms)]
		s, err := sasl.NewServer(mechanism, sasl.Realm{Lookup: lookup})
		if err != nil {
			t.Fatal(err)
		}
		over := false
		for i, line := range strings.Split(text, "\n") {
			var response []byte
			if i > 0 || line != "-" {
				if response, err = sasl.DecodeResponse(line, i == 0); err != nil {
					return
				}
			}
			challenge, done, err := s.Next(response)
			if done || s.User() != "" {
				t.Fatalf("%q has logged in by %s", s.User(), mechanism)
			}
			if err == nil && over {
				t.Fatalf("%s goes on after its end with %q", mechanism, challenge)
			}
			if over = err != nil; over && !errors.Is(err, sasl.ErrRefused) && !errors.Is(err, sasl.ErrMalformed) {
				t.Fatal(err)
			}
			if err == nil && challenge == nil {
				t.Fatalf("%s has no challenge and no end", mechanism)
			}
		}
	})
}

// A server gets nothing out of a client but what the mechanism sends, and by SCRAM
// no yes that counts.
func FuzzClient(f *testing.F) {
	for i := range sasl.ClientMechanisms() {
		for _, lines := range []string{
			"", "VXNlcm5hbWU6\nUGFzc3dvcmQ6", "Username:\nPassword:\n", `{"status":"401"}`, "eyJzdGF0dXMiOiI0MDEifQ==\n",
			"cj1meWtvLHM9UVNYQ1IrUTZzZWs4YmY5MixpPTQwOTY=\ndj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9",
			"TlRMTVNTUAACAAAACAAIADAAAAAFggIAASNFZ4mrze8AAAAAAAAAAAAAAAA4AAAATQBBAEkATAA=",
		} {
			f.Add(uint8(i), lines)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		mechanisms := sasl.ClientMechanisms()
		mechanism := mechanisms[int(which)%len(mechanisms)]
		c, err := sasl.NewClient(mechanism, sasl.Identity{
			User: "scanner", Password: sasl.Password(password), Token: sasl.Password(token),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(text, "\n") {
			challenge, err := sasl.DecodeChallenge(mechanism, line)
			if err != nil {
				return
			}
			response, err := c.Next(challenge)
			if err == nil && response == nil {
				t.Fatalf("%s has no response and no error", mechanism)
			}
			said := string(response)
			if mechanism == "LOGIN" {
				said = ""
			}
			if err != nil {
				said += err.Error()
			}
			for _, text := range []string{said, sasl.Explanation(c)} {
				if strings.Contains(text, password) || strings.Contains(text, token) {
					t.Fatalf("%s tells a secret: %q", mechanism, text)
				}
			}
			if strings.HasPrefix(mechanism, "SCRAM") && sasl.Accept(c) == nil {
				t.Fatal("a yes counts from a server that has not the password")
			}
			if err != nil {
				return
			}
		}
	})
}

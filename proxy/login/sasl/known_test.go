package sasl_test

import (
	"errors"
	"strings"
	"testing"

	"smtpshim/proxy/login/sasl"
)

// play says lines to a client as a server would, and returns what it answers: the
// initial response, then a line for each challenge.
func play(t *testing.T, c sasl.Client, challenges ...string) []string {
	t.Helper()
	var said []string
	initial, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	if initial != nil {
		said = append(said, sasl.EncodeInitial(initial))
	}
	for _, text := range challenges {
		challenge, err := sasl.DecodeChallenge(c.Name(), text)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Next(challenge)
		if err != nil {
			return append(said, "*")
		}
		said = append(said, sasl.Encode(response))
	}
	return said
}

func TestClientsSayWhatTheExamplesSay(t *testing.T) {
	secret := func(text string) sasl.Identity {
		return sasl.Identity{Password: sasl.Password(text), Token: sasl.Password(text)}
	}
	bearer := secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
	bearer.Host, bearer.Port = "server.example.com", 143
	for _, test := range []struct {
		source, mechanism, user string
		who                     sasl.Identity
		challenges              string
		want                    string
	}{
		{"RFC 4616, section 4", "PLAIN", "tim", secret("tanstaaftanstaaf"), "",
			"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"},
		{"RFC 2195, section 2", "CRAM-MD5", "tim", secret("tanstaaftanstaaf"),
			"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
			"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"},
		{"Google's page, taken", "XOAUTH2", "someuser@example.com", secret(token), "",
			"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="},
		{"Google's page, refused", "XOAUTH2", "someuser@example.com", secret(token),
			"eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K",
			"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ== "},
		{"RFC 7628, section 4.1", "OAUTHBEARER", "user@example.com", bearer, "",
			"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"},
		{"RFC 7628, section 4.3", "OAUTHBEARER", "user@example.com", bearer,
			"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=",
			"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB AQ=="},
	} {
		test.who.User = test.user
		got := play(t, newClient(t, test.mechanism, test.who), strings.Fields(test.challenges)...)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: the client says\n%s, want\n%s", test.source, strings.Join(got, " "), test.want)
		}
	}
}

func TestLoginAnswersPromptsOfAnyText(t *testing.T) {
	want := "c2Nhbm5lcg== VHIwdWI0ZG9yJjM="
	for _, prompts := range [][]string{
		{"VXNlcm5hbWU6", "UGFzc3dvcmQ6"},
		{"dXNlcm5hbWU6", "cGFzc3dvcmQ6"},
		{"VXNlciBOYW1lAA==", "UGFzc3dvcmQA"}, // draft-murchison-sasl-login-00
		{"Username:", "Password:"},           // no base64
		{"", ""},
		{"ok", "ok, go on!"},
		{"VXNlcm5hbWU", "UGFzc3dvcmQ"}, // without padding
	} {
		c := newClient(t, "LOGIN", sasl.Identity{User: "scanner", Password: sasl.Password(password)})
		if got := strings.Join(play(t, c, prompts...), " "); got != want {
			t.Errorf("%q: the client says %s, want %s", prompts, got, want)
		}
		if _, err := c.Next(nil); err == nil {
			t.Errorf("%q: the client answers a third prompt", prompts)
		}
	}
	c := newClient(t, "LOGIN", sasl.Identity{User: "scanner", Password: sasl.Password(password)})
	if got := play(t, c, "VXNlcm5hbWU6", "VXNlcm5hbWU6"); got[1] != "*" {
		t.Errorf("asked for the user twice, the client says %q", got)
	}
}

func TestClientsDoNotAnswerMoreThanTheMechanismHas(t *testing.T) {
	last := map[string]int{"PLAIN": 0, "CRAM-MD5": 1, "LOGIN": 2, "XOAUTH2": 1, "OAUTHBEARER": 1, "NTLM": 0}
	for mechanism, n := range last {
		c := newClient(t, mechanism, sasl.Identity{User: "scanner", Password: sasl.Password(password), Token: sasl.Password(token)})
		for i := range n {
			if _, err := c.Next(nil); err != nil {
				t.Errorf("%s: challenge %d: %v", mechanism, i+1, err)
			}
		}
		if response, err := c.Next(nil); err == nil {
			t.Errorf("%s: challenge %d is answered with %q", mechanism, n+1, response)
		}
	}
}

func TestAYesAfterTheTokenWasRefusedDoesNotCount(t *testing.T) {
	c := newClient(t, "XOAUTH2", sasl.Identity{User: "scanner", Token: sasl.Password(token)})
	if err := sasl.Accept(c); err != nil {
		t.Error(err)
	}
	play(t, c, "")
	if err := sasl.Accept(c); err == nil {
		t.Error("it counts")
	}
}

func TestAnExplanationIsSafeToLog(t *testing.T) {
	for challenge, want := range map[string]string{
		`{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}`: `the server refused the token: status "401", scope "https://mail.google.com/"`,
		`{"status":"invalid_token"}`:              `the server refused the token: status "invalid_token"`,
		`{"status":401}`:                          `the server refused the token: status 401`,
		`{"status":"a\nb"}`:                       `the server refused the token: status "a\nb"`,
		`{"status":"` + token + `"}`:              `the server refused the token: status [secret]`,
		`{"status":"` + token[5:30] + `"}`:        `the server refused the token: status [secret]`,
		`{"scope":"no such token ` + token + `"}`: `the server refused the token, scope [secret]`,
		`{"status":[]}`:                           `the server refused the token`,
		``:                                        `the server refused the token and gave no reason`,
		token:                                     `the server refused the token; its reason, of 45 octets, is no JSON`,
	} {
		for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
			c := newClient(t, mechanism, sasl.Identity{User: "scanner", Token: sasl.Password(token)})
			if _, err := c.Next([]byte(challenge)); err != nil {
				t.Error(err)
			}
			if got := sasl.Explanation(c); got != want {
				t.Errorf("%s is explained: %s, want %s", challenge, got, want)
			}
		}
	}
	if got := sasl.Explanation(newClient(t, "PLAIN", sasl.Identity{User: "a", Password: sasl.Password("b")})); got != "" {
		t.Errorf("PLAIN explains %q", got)
	}
}

// answers says lines to a server, the first on the line of AUTH unless it is "-".
func answers(t *testing.T, s sasl.Server, lines ...string) (challenges []string, err error) {
	t.Helper()
	for i, line := range lines {
		var response []byte
		if i > 0 || line != "-" {
			if response, err = sasl.DecodeResponse(line, i == 0); err != nil {
				return challenges, err
			}
		}
		challenge, done, err := s.Next(response)
		if err != nil {
			return challenges, err
		}
		if done {
			return append(challenges, "done"), nil
		}
		challenges = append(challenges, sasl.Encode(challenge))
	}
	return challenges, nil
}

func TestServersTakeTheDialectsOfClients(t *testing.T) {
	const u, p = "c2Nhbm5lcg==", "VHIwdWI0ZG9yJjM=" // scanner and its password
	for _, test := range []struct {
		mechanism, lines, want string
		err                    error
	}{
		{"LOGIN", "- " + u + " " + p, "VXNlcm5hbWU6 UGFzc3dvcmQ6 done", nil},
		{"LOGIN", u + " " + p, "UGFzc3dvcmQ6 done", nil},
		{"LOGIN", "= " + u + " " + p, "VXNlcm5hbWU6 UGFzc3dvcmQ6 done", nil},
		{"login", "c2Nhbm5lcg VHIwdWI0ZG9yJjM", "UGFzc3dvcmQ6 done", nil}, // without padding
		{"LOGIN", "- = " + p, "VXNlcm5hbWU6", sasl.ErrMalformed},
		{"LOGIN", "scanner!", "", sasl.ErrMalformed},
		{"PLAIN", "AHNjYW5uZXIAVHIwdWI0ZG9yJjM=", "done", nil},
		{"PLAIN", "- AHNjYW5uZXIAVHIwdWI0ZG9yJjM=", " done", nil},
		{"PLAIN", sasl.Encode([]byte("scanner\x00scanner\x00" + password)), "done", nil},
		{"PLAIN", sasl.Encode([]byte("Scanner\x00scanner\x00" + password)), "done", nil},
		{"PLAIN", sasl.Encode([]byte("other\x00scanner\x00" + password)), "", sasl.ErrRefused},
		{"PLAIN", sasl.Encode([]byte("other\x00other\x00" + password)), "", sasl.ErrRefused},
		{"PLAIN", sasl.Encode([]byte("scanner\x00" + password)), "", sasl.ErrMalformed},
		{"PLAIN", sasl.Encode([]byte("\x00scanner\x00" + password + "\x00")), "", sasl.ErrMalformed},
		{"PLAIN", sasl.Encode([]byte("\x00\x00")), "", sasl.ErrMalformed},
		{"PLAIN", "=", "", sasl.ErrMalformed},
		{"CRAM-MD5", u, "", sasl.ErrMalformed},
		{"NTLM", "=", "", sasl.ErrMalformed},
		{"NTLM", u, "", sasl.ErrMalformed},
		{"NTLM", "- " + u, "", sasl.ErrMalformed},
	} {
		s := newServer(t, test.mechanism, realm(t, sasl.Password(password)))
		got, err := answers(t, s, strings.Fields(test.lines)...)
		if strings.Join(got, " ") != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s %s: %q, %v, want %s, %v", test.mechanism, test.lines, got, err, test.want, test.err)
		}
		if (s.User() == "Scanner") != (test.err == nil) {
			t.Errorf("%s %s: %q has logged in", test.mechanism, test.lines, s.User())
		}
	}
}

func TestAChallengeOfCRAMIsNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		got, err := answers(t, newServer(t, "CRAM-MD5", realm(t, sasl.Password(password))), "-")
		if err != nil || seen[got[0]] {
			t.Fatalf("%q, %v", got, err)
		}
		seen[got[0]] = true
	}
}

func TestWhatIsNoBase64IsRefused(t *testing.T) {
	for _, text := range []string{"a", "abc=d", "====", "ab\r\ncd", "Username:", "\x00"} {
		if _, err := sasl.DecodeResponse(text, false); !errors.Is(err, sasl.ErrMalformed) {
			t.Errorf("a response %q: %v", text, err)
		}
		if _, err := sasl.DecodeChallenge("CRAM-MD5", text); err == nil {
			t.Errorf("a challenge %q is one", text)
		}
	}
	if _, err := sasl.DecodeResponse("=", false); !errors.Is(err, sasl.ErrMalformed) {
		t.Errorf("a later response \"=\": %v", err)
	}
	for _, text := range []string{"", " "} {
		if got, err := sasl.DecodeResponse(text, false); err != nil || got == nil || len(got) > 0 {
			t.Errorf("an empty response: %v, %v", got, err)
		}
	}
}

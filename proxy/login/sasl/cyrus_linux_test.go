package sasl_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/smtptest/real"
)

// cyrusMechanisms are those that Cyrus SASL and we have.
func cyrusMechanisms() []string {
	return []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "NTLM", "PLAIN", "LOGIN"}
}

// A cyrus is one side of an exchange by Cyrus SASL, in a process of its own.
type cyrus struct {
	io.Writer
	lines *bufio.Scanner
}

func startCyrus(t *testing.T, args ...string) cyrus {
	t.Helper()
	python := real.Bin(t, "python", "python3")
	script, err := filepath.Abs("testdata/cyrus.py")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c", `import ctypes; ctypes.CDLL("libsasl2.so.2")`).CombinedOutput(); err != nil {
		real.Missing(t, fmt.Sprintf("no Cyrus SASL: %v\n%s", err, out))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, python, append([]string{script}, args...)...)
	t.Cleanup(cancel)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		if t.Failed() && complaints.Len() > 0 {
			t.Log(complaints.String())
		}
	})
	return cyrus{in, bufio.NewScanner(out)}
}

func (p cyrus) say(line string) { fmt.Fprintln(p, line) }

// hear returns the next line, "" at the end.
func (p cyrus) hear() string {
	if !p.lines.Scan() {
		return ""
	}
	return p.lines.Text()
}

func TestOurClientsLogInToCyrus(t *testing.T) {
	for _, mechanism := range cyrusMechanisms() {
		for name, said := range map[string]string{"right": password, "wrong": "wrong"} {
			t.Run(mechanism+" "+name, func(t *testing.T) {
				t.Parallel()
				c := newClient(t, mechanism, sasl.Identity{User: "scanner", Password: sasl.Password(said)})
				initial, err := c.Start()
				if err != nil {
					t.Fatal(err)
				}
				first := "-"
				if initial != nil {
					first = sasl.Encode(initial)
				}
				peer := startCyrus(t, "server", mechanism, "scanner", password, t.TempDir())
				peer.say(first)
				verdict := peer.hear()
				for range 10 {
					if strings.HasPrefix(verdict, "ok ") || strings.HasPrefix(verdict, "no ") {
						break
					}
					challenge, err := sasl.DecodeChallenge(mechanism, verdict)
					if err != nil {
						t.Fatal(err)
					}
					response, err := c.Next(challenge)
					if err != nil {
						t.Fatal(err)
					}
					peer.say(sasl.Encode(response))
					verdict = peer.hear()
				}
				if right := said == password; strings.HasPrefix(verdict, "ok scanner") != right {
					t.Fatalf("Cyrus says %q", verdict)
				} else if err := sasl.Accept(c); right && err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestCyrusLogsInToOurServers(t *testing.T) {
	for _, mechanism := range cyrusMechanisms() {
		for name, said := range map[string]string{"right": password, "wrong": "wrong"} {
			t.Run(mechanism+" "+name, func(t *testing.T) {
				t.Parallel()
				peer := startCyrus(t, "client", mechanism, "scanner", said)
				r := realm(t, sasl.Password(password))
				// Cyrus says NTLMv2 only if it is configured to.
				r.Lookup = users(t, sasl.User{Name: "Scanner", Secret: sasl.Password(password), NTLMv1: true})
				s := newServer(t, mechanism, r)
				line, initial := peer.hear(), true
				for range 10 {
					var response []byte
					var err error
					if line != "-" {
						if response, err = sasl.DecodeResponse(line, initial); err != nil {
							t.Fatalf("Cyrus says %q: %v", line, err)
						}
					}
					initial = false
					challenge, done, err := s.Next(response)
					if right := said == password; done || err != nil {
						if done != right || right && s.User() != "Scanner" {
							t.Errorf("%q has logged in, %v", s.User(), err)
						}
						return
					}
					peer.say(sasl.Encode(challenge))
					line = peer.hear()
				}
				t.Error("no end")
			})
		}
	}
}

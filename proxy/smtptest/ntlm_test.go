package smtptest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestTheSealBitIsAtOctet60(t *testing.T) {
	for _, seal := range []bool{true, false} {
		text, err := NTLM3(NTLM2(), "password", seal)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(blob, []byte("NTLMSSP\x00\x03\x00\x00\x00")) {
			t.Errorf("the message begins %q", blob[:12])
		}
		if got := binary.LittleEndian.Uint32(blob[60:])&0x20 != 0; got != seal {
			t.Errorf("seal is %v, want %v", got, seal)
		}
	}
	// As the captured one of KB Q262945 begins.
	if got := NTLM1(true); !strings.HasPrefix(got, "TlRMTVNTUAABAAAAt5IAQ") {
		t.Errorf("the first message is %q", got)
	}
	if got := NTLM2(); !strings.HasPrefix(got, "TlRMTVNTUAACAAAA") {
		t.Errorf("the second message is %q", got)
	}
}

func TestNTLM3NeedsAType2Message(t *testing.T) {
	for _, text := range []string{"", "ntlm supported", NTLM1(true), NTLM2()[:12]} {
		if blob, err := NTLM3(text, "password", false); err == nil {
			t.Errorf("%q was answered with %q", text, blob)
		}
	}
}

func TestEveryXauthSpellingIsUnderstood(t *testing.T) {
	for _, keywords := range XauthSpellings() {
		running, dial := start(t, server(t, "exchange-5.0").WithXauth(keywords...))
		r := client(t, "exchange-5.0").Deliver(dial, testMessage)
		wantOutcome(t, r, Delivered, "")
		wantMessages(t, running, 1)

		var offered []string
		for _, line := range r.Dialogue.Said("S") {
			if strings.Contains(line, "XAUTH") {
				offered = append(offered, line[4:])
			}
		}
		if !slices.Equal(offered, keywords) {
			t.Errorf("offered %q, want %q", offered, keywords)
		}
	}
}

func TestOnlyTheConfiguredXauthFormIsUnderstood(t *testing.T) {
	for _, understood := range XauthForms() {
		running, dial := start(t, server(t, "exchange-5.0").WithAuth(understood))
		for _, said := range XauthForms() {
			r := client(t, "exchange-5.0").WithAuth(said).Deliver(dial, testMessage)
			if said == understood {
				wantOutcome(t, r, Delivered, "")
			} else {
				wantOutcome(t, r, Bounced, "500 command not recognized")
			}
		}
		wantMessages(t, running, 1)
	}
}

func TestWithXauthAddsWhatARowDoesNotHave(t *testing.T) {
	s := server(t, "modern").WithXauth("XAUTH").WithAuth(XauthInitial)
	running, dial := start(t, s)
	wantOutcome(t, client(t, "exchange-5.0").Deliver(dial, testMessage), Delivered, "")
	wantMessages(t, running, 1)
	if before := server(t, "modern"); len(before.Ehlo) != len(s.Ehlo)-1 {
		t.Error("the table was changed")
	}
}

func TestNTLMIsTakenThoughNotOffered(t *testing.T) {
	for _, form := range []string{AuthInitial, AuthPrompted} {
		running, dial := start(t, server(t, "exchange-5.5"))
		r := client(t, "exchange-5.5").WithAuth(form).Deliver(dial, testMessage)
		wantOutcome(t, r, Delivered, "")
		if heard := strings.Join(r.Dialogue.Said("S"), "\n"); strings.Contains(heard, "NTLM") ||
			!strings.Contains(heard, "235 ntlm authentication successful") {
			t.Errorf("the client heard\n%s", heard)
		}
		wantMessages(t, running, 1)
	}
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	running, dial := start(t, server(t, "exchange-2003"))
	c := client(t, "modern").WithAuth(AuthPrompted)
	c.Password = "wrong"
	r := c.Deliver(dial, testMessage)
	wantOutcome(t, r, Bounced, "535 5.7.3 Authentication unsuccessful")
	wantMessages(t, running, 0)
	if !slices.Contains(r.Dialogue.Said("S"), "334 ntlm supported") {
		t.Errorf("the prompt is missing:\n%s", r.Dialogue)
	}
}

func TestAChallengeThatIsNoneIsCancelled(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	played := make(chan error, 1)
	go func() {
		played <- Play(theirs, testTimeout,
			Say("220 mail.example.com ESMTP"),
			Expect("EHLO client.example.com"), Say("250-mail.example.com", "250 XAUTH"),
			Expect("XAUTH NTLM "+NTLM1(false)), Say("334 ntlm supported"),
			Expect("*"), Say("501 cancelled"),
			Expect("QUIT"), Say("221 bye"), ExpectEnd())
	}()
	r := client(t, "exchange-5.0").Deliver(func() (net.Conn, error) { return ours, nil }, testMessage)
	wantOutcome(t, r, Bounced, "501 cancelled")
	if err := <-played; err != nil {
		t.Error(err)
	}
}

// tap keeps what is written to a connection.
type tap struct {
	net.Conn
	written *bytes.Buffer
}

func (c tap) Write(octets []byte) (int, error) {
	c.written.Write(octets)
	return c.Conn.Write(octets)
}

func TestASealedStreamHasNoLines(t *testing.T) {
	for _, test := range []struct {
		name           string
		seals          bool
		seal, asksSeal bool
		lines          bool // after 235
	}{
		{"sealed", true, true, false, false},
		{"not asked for", true, false, false, true},
		{"asked for and not done", false, false, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := server(t, "exchange-5.5"), client(t, "exchange-5.5").WithAuth(AuthInitial)
			s.Seals, c.Seal, c.AsksSeal = test.seals, test.seal, test.asksSeal
			running, dial := start(t, s)
			var written bytes.Buffer
			r := c.Deliver(func() (net.Conn, error) {
				conn, err := dial()
				return tap{conn, &written}, err
			}, testMessage)
			wantOutcome(t, r, Delivered, "")
			wantMessages(t, running, 1)
			if got := bytes.Contains(written.Bytes(), []byte("MAIL FROM")); got != test.lines {
				t.Errorf("MAIL in clear is %v, want %v", got, test.lines)
			}
			if got := strings.Contains(r.Dialogue.String(), "~ sealed\n"); got == test.lines {
				t.Errorf("the dialogue says sealed: %v", got)
			}
		})
	}
}

func TestASealedBlockIsOneWrite(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		(&sealed{Conn: theirs}).Write([]byte("QUIT\r\n"))
		theirs.Close()
	}()
	block := make([]byte, 100)
	n, err := ours.Read(block) // a pipe gives one write at a time
	if err != nil || n != 4+6 {
		t.Fatalf("read %d octets, %v", n, err)
	}
	if bytes.ContainsAny(block[:n], "QUIT\r\n") {
		t.Errorf("the block %q can be read", block[:n])
	}
	if _, err := (&sealed{Conn: ours}).Read(block); err != io.EOF {
		t.Errorf("after the last block: %v", err)
	}
}

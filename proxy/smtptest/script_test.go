package smtptest

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// playBoth plays two scripts against each other and gives both errors.
func playBoth(timeout time.Duration, one, other []Step) (error, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { done <- Play(b, timeout, other...) }()
	err := Play(a, timeout, one...)
	a.Close()
	return err, <-done
}

func TestAScriptMeetsItsMirrorImage(t *testing.T) {
	paused := false
	one, other := playBoth(testTimeout,
		[]Step{Say("220-a", "220 b"), Expect("EHLO x"), ExpectOctets("\x00\xff\n"), Close()},
		[]Step{Expect("220-a", "220 b"), Pause(func() { paused = true }), Say("EHLO x"), Send("\x00\xff\n"), ExpectEnd()})
	if one != nil || other != nil || !paused {
		t.Errorf("%v, %v, paused %v", one, other, paused)
	}
}

func TestAScriptEndsAtTheFirstDifference(t *testing.T) {
	for _, test := range []struct {
		said, expected Step
		want           string
	}{
		{Say("HELO x"), Expect("EHLO x"), `step 1, expecting ["EHLO x"]: heard "HELO x", not "EHLO x"`},
		{Send("EHLO x\n"), Expect("EHLO x"), `step 1, expecting ["EHLO x"]: waiting for "EHLO x": unexpected EOF`},
		{Send("ab"), ExpectOctets("ac"), `step 1, expecting the octets "ac": got "ab"`},
		{Send("a"), ExpectOctets("ac"), `step 1, expecting the octets "ac": after "a": unexpected EOF`},
		{Say("QUIT"), ExpectEnd(), `step 1, expecting the end: got "QUIT\r\n"`},
	} {
		_, err := playBoth(testTimeout, []Step{test.said, Close()}, []Step{test.expected})
		if err == nil || err.Error() != test.want {
			t.Errorf("%v, want %v", err, test.want)
		}
	}
}

func TestAScriptDoesNotWaitForever(t *testing.T) {
	for _, step := range []Step{Expect("QUIT"), ExpectOctets("Q"), ExpectEnd(), Say("QUIT")} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			defer b.Close()
			began := time.Now()
			if err := Play(a, time.Minute, step); err == nil || time.Since(began) != time.Minute {
				t.Errorf("%s ended after %v with %v", step.name, time.Since(began), err)
			}
		})
	}
}

func TestAScriptSpeaksTLS(t *testing.T) {
	forServer, forClient := testTLS(t)
	one, other := playBoth(testTimeout,
		[]Step{Say("220 go"), ServerTLS(forServer), Expect("EHLO x"), Say("250 x")},
		[]Step{Expect("220 go"), ClientTLS(forClient), Say("EHLO x"), Expect("250 x")})
	if one != nil || other != nil {
		t.Errorf("%v, %v", one, other)
	}
}

func TestOnlyCRLFEndsALine(t *testing.T) {
	for _, size := range []int{16, 4096} {
		in := "a\nb\rc\r\n" + strings.Repeat("x", 100) + "\r\n\r\nd"
		r := bufio.NewReaderSize(strings.NewReader(in), size)
		for _, want := range []string{"a\nb\rc", strings.Repeat("x", 100), ""} {
			if got, err := readLine(r); got != want || err != nil {
				t.Errorf("read %q, %v, want %q", got, err, want)
			}
		}
		if got, err := readLine(r); err == nil {
			t.Errorf("read %q without its end", got)
		}
	}
	if _, err := readLine(bufio.NewReader(strings.NewReader(strings.Repeat("x", 2*maxLine) + "\r\n"))); err == nil {
		t.Error("a line without bounds was read")
	}
}

func TestStuffingIsUndone(t *testing.T) {
	for _, body := range []string{
		"", ".\r\n", "..\r\n", "\r\n.\r\n", "a\n.\r\n", "\r.\r\n", "\n\r\n", strings.Repeat("x.", 50) + "\r\n.y\r\n",
	} {
		wire := stuff([]byte(body))
		if bytes.Contains(wire[:len(wire)-3], []byte("\r\n.\r\n")) {
			t.Errorf("%q ends early as %q", body, wire)
		}
		for _, size := range []int{16, 4096} {
			r := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(wire)), size)
			got, err := readMessage(r)
			if string(got) != body || err != nil {
				t.Errorf("%q came back as %q, %v", body, got, err)
			}
		}
	}
	if got := string(stuff([]byte("a"))); got != "a\r\n.\r\n" {
		t.Errorf("a line without an end became %q", got)
	}
}

package play_test

import (
	"regexp"
	"strings"
	"testing"

	"smtpshim/rewrite/play"
	"smtpshim/rewrite/testdata"
	"smtpshim/rewrite/transcript"
)

func playedAs(t testing.TB, f *transcript.File) *play.Result {
	t.Helper()
	policy, err := play.Policy(f)
	if err != nil {
		t.Fatal(err)
	}
	return play.Play(f, policy, nil)
}

// delivered are the lines that one side got.
func delivered(lines []transcript.Line, side transcript.Side) string {
	var b strings.Builder
	for _, l := range lines {
		if l.Side == side && l.Mark != transcript.Removed {
			b.WriteString(l.Text + "\n")
		}
	}
	return b.String()
}

// TestARecordingUnderItsOwnRulesIsPlayedToItsEnd plays all of testdata.
func TestARecordingUnderItsOwnRulesIsPlayedToItsEnd(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			r := playedAs(t, f)
			if r.Unknown.Why != "" || r.Assumed.Why != "" {
				t.Errorf("played %d of %d lines: %+v, %+v", r.Played, r.Said, r.Unknown, r.Assumed)
			}
			for side, name := range map[transcript.Side]string{transcript.Client: "server", transcript.Server: "client"} {
				want, got := delivered(f.Dialogue, side), delivered(r.Lines, side)
				if got != want && !strings.Contains(got, " octets)") { // which stands for what is secret
					t.Errorf("the %s gets\n%s\nand not\n%s", name, got, want)
				}
			}
		})
	}
}

// TestWhatARecordingLeavesOutIsNotNeeded plays what came of each file of testdata again:
// like the recording of a session it has no credentials.
func TestWhatARecordingLeavesOutIsNotNeeded(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			if why := notRecorded[name]; why != "" {
				t.Skip(why)
			}
			first := playedAs(t, f)
			f.Dialogue = first.Lines
			again := playedAs(t, f)
			if again.Unknown.Why != "" || again.Assumed.Why != "" {
				t.Errorf("played %d of %d lines: %+v, %+v", again.Played, again.Said, again.Unknown, again.Assumed)
			}
			if diff := transcript.Compare(mended(first.Lines), mended(again.Lines)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const held = "a command that waits for others, and its reply, come late in a recording, or not at all if the server never gets it"

// notRecorded are dialogues of which a recording lacks what matters.
var notRecorded = map[string]string{
	"policy-server-tls-opportunistic-refused":             held,
	"policy-xclient-send-server-tls-refused-not-offered":  held,
	"lmtp-refused-midway":                                 "what the server said once is in a recording for each recipient",
	"policy-server-tls-opportunistic-helo-hangs-up-esmtp": held,
	"policy-server-tls-require-helo-not-offered":          held,
	"policy-server-tls-require-no-hello-refused":          held,
	"policy-xclient-send-helo-hang-up":                    held,
	"policy-xclient-send-no-hello-refused":                held,
	"policy-xclient-send-required-helo-no-ehlo":           held,
	"policy-xclient-send-server-tls-no-ehlo-helo":         held,
	"second-ehlo-client-tls-421":                          held,
	"second-ehlo-client-tls-refuses-rset":                 held,
	"second-ehlo-client-tls":                              held,
	"second-ehlo":                                         held,
	"map-auth-names":                                      "what counts is a name or a line that was left out",
	"policy-external-server-tls":                          "what counts is a name or a line that was left out",
	"tidy-commands-auth":                                  "what counts is a name or a line that was left out",
	"blank-lines":                                         "what counts is a name or a line that was left out",
	"policy-xclient-send-sealed":                          "what counts is a name or a line that was left out",
	"login-to-plain-name-on-line":                         "what counts is a name or a line that was left out",
	"policy-client-tls-offer-injected":                    "what counts is what came together",
	"policy-client-tls-pass-injected":                     "what counts is what came together",
	"policy-group-refused-message":                        "what counts is what came together",
	"policy-reply-early-yes":                              "the message has no end",
}

// hidden stands for what a recording has left out.
var hidden = regexp.MustCompile(`\.\.\.\([0-9]+ octets\)`)

// mended leaves out that a line or reply was mended, which a recording has as it was
// mended, and how much was left out.
func mended(lines []transcript.Line) (rest []transcript.Line) {
	for _, l := range lines {
		l.Text = hidden.ReplaceAllString(l.Text, "...")
		if l.Side != 0 || !strings.Contains(l.Text, " mended by ") {
			rest = append(rest, l)
		}
	}
	return rest
}

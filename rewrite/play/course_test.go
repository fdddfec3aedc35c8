package play_test

import (
	"reflect"
	"strings"
	"testing"

	"smtpshim/rewrite/play"
	"smtpshim/rewrite/transcript"
)

// dialogueOf is a recording with these rules, separated by blanks, and these lines.
func dialogueOf(t testing.TB, rules, lines string) *transcript.File {
	t.Helper()
	f, err := transcript.Parse("recording", []byte("-- rules --\n"+strings.ReplaceAll(rules, " ", "\n")+"\n-- dialogue --\n"+strings.TrimSpace(lines)+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatTheServerWouldAnswerIsNotMadeUp(t *testing.T) {
	for name, c := range map[string]struct {
		rules, lines string
		unknown      play.Change
		assumed      play.Change
		heard        string // what the client heard last
	}{
		"the rule changes what was refused": {
			"strip-parameters", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 hello\nC: MAIL FROM:<a@example.net> SIZE=10\nS: 501 syntax\nC: QUIT\nS: 221 bye",
			play.Change{Line: 4, Why: "the server gets MAIL FROM:<a@example.net>; it refused MAIL FROM:<a@example.net> SIZE=10 with 501 syntax"}, play.Change{}, "250 hello",
		},
		"what was refused in many words": {
			"strip-parameters", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 hello\nC: MAIL FROM:<a@example.net> SIZE=10\nS: 501 Syntax error in parameters\nC: QUIT\nS: 221 bye",
			play.Change{Line: 4, Why: "the server gets MAIL FROM:<a@example.net>; it refused MAIL FROM:<a@example.net> SIZE=10 with 501 Syntax error in parameters"}, play.Change{}, "250 hello",
		},
		"the rule changes what was accepted": {
			"strip-parameters", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 hello\nC: MAIL FROM:<a@example.net> SIZE=10\nS: 250 ok\nC: QUIT\nS: 221 bye",
			play.Change{}, play.Change{Line: 4, Why: "the server gets MAIL FROM:<a@example.net>, and got MAIL FROM:<a@example.net> SIZE=10"}, "221 bye",
		},
		"the rule has what was refused said again": {
			"fix-hello-name", "S: 220 mail.example.com ESMTP\nC: EHLO sub2.\nS: 501 Invalid Address\nC: QUIT\nS: 221 bye",
			play.Change{Line: 3, Why: "the server gets EHLO sub2; in the recording it got QUIT"}, play.Change{}, "220 mail.example.com ESMTP",
		},
		"the rule says what the recording has next": {
			"fall-back-to-helo", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 500 what?\nC: HELO client.example.net\nS: 250 hello\nC: QUIT\nS: 221 bye",
			play.Change{Line: 5, Why: "the client gets 250 hello; in the recording it got 500 what?"}, play.Change{}, "250 hello",
		},
		"the rule says what the recording does not have": {
			"fall-back-to-helo", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 500 what?\nC: QUIT\nS: 221 bye",
			play.Change{Line: 3, Why: "the server gets HELO client.example.net; in the recording it got QUIT"}, play.Change{}, "220 mail.example.com ESMTP",
		},
		"the rule that said something is gone": {
			"answer-noop", "S: 220 mail.example.com ESMTP\nC- EHLO client.example.net\nC+ HELO client.example.net\nS: 250 hello\nC: QUIT\nS: 221 bye",
			play.Change{Line: 2, Why: "the server gets EHLO client.example.net; in the recording it got HELO client.example.net"}, play.Change{}, "220 mail.example.com ESMTP",
		},
		"the rule answers in place of the server": {
			"answer-noop", "S: 220 **************\nC: EHLO client.example.net\nS: 250 hello\nC: NOOP\nS: 250 yes\nC: QUIT\nS: 221 bye",
			play.Change{}, play.Change{Line: 6, Why: "the server does not get NOOP"}, "221 bye",
		},
		"what the client used is not offered any more": {
			"chunking", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250-mail.example.com\nS: 250 CHUNKING\nC: MAIL FROM:<a@example.net>\nS: 250 ok\nC: RCPT TO:<b@example.com>\nS: 250 ok\nC: BDAT 10 LAST\n~ chunk 10 bytes\nS: 250 queued",
			play.Change{Line: 9, Why: "the client sends BDAT, because it was offered CHUNKING; now it is not"}, play.Change{}, "250 ok",
		},
		"a refusal becomes one of the same class": {
			"mend-505", "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 mail.example.com\nC: MAIL FROM:<a@example.net>\nS: 505 Must issue a STARTTLS command first\nC: QUIT\nS: 221 bye",
			play.Change{}, play.Change{}, "221 bye",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := playedAs(t, dialogueOf(t, c.rules, c.lines))
			if r.Unknown != c.unknown || r.Assumed != c.assumed {
				t.Errorf("unknown %+v\nassumed %+v", r.Unknown, r.Assumed)
			}
			heard := strings.Split(strings.TrimSpace(delivered(r.Lines, transcript.Server)), "\n")
			if got := heard[len(heard)-1]; got != c.heard {
				t.Errorf("the client heard %q last, want %q", got, c.heard)
			}
			if t.Failed() {
				t.Log(r.Lines)
			}
		})
	}
}

func TestRulesAndRefusalsAreTold(t *testing.T) {
	f := dialogueOf(t, "too-many-recipients", `
S: 220 mail.example.com ESMTP
C: EHLO client.example.net
S: 250 mail.example.com
C: MAIL FROM:<a@example.net>
S: 250 ok
C: RCPT TO:<b@example.com>
S: 550 5.1.1 no such user
C: RCPT TO:<c@example.com>
S: 552 Too many recipients
C: RCPT TO:<d@example.com>
S: 552 Too many recipients
C: QUIT
S: 221 bye`)
	r := playedAs(t, f)
	wantRules := []play.Act{{Rule: "too-many-recipients", Count: 2, Line: 9, Said: transcript.Line{Side: 'S', Mark: '-', Text: "552 Too many recipients", Rule: "too-many-recipients"}}}
	if !reflect.DeepEqual(r.Rules, wantRules) {
		t.Errorf("the rules are %+v", r.Rules)
	}
	want := []play.Refusal{
		{Line: 7, Verb: "RCPT", Code: 550, Text: "5.1.1 no such user"},
		{Line: 9, Verb: "RCPT", Code: 552, Text: "Too many recipients", Healed: "too-many-recipients"},
		{Line: 11, Verb: "RCPT", Code: 552, Text: "Too many recipients", Healed: "too-many-recipients"},
	}
	if !reflect.DeepEqual(r.Refusals, want) {
		t.Errorf("the refusals are %+v", r.Refusals)
	}
}

func TestAResultHasNoCredentials(t *testing.T) {
	const hello = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250-mail.example.com\n"
	for name, c := range map[string]struct {
		rules   []string
		lines   string
		unknown string
	}{
		"a login that fails": {[]string{"standard", "login-to-plain", "translate-xauth"}, hello + `S: 250 AUTH PLAIN LOGIN
C: AUTH PLAIN AHVzZXIAc2VjcmV0
S: 535 5.7.8 not user
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: dXNlcg==
S: 334 UGFzc3dvcmQ6
C: c2VjcmV0
S: 535 5.7.8 not dXNlcg==
C: AUTH PLAIN AHVzZXIAc2VjcmV0 again
S: 501 what is AHVzZXIAc2VjcmV0?`, ""},
		"a refusal that repeats": {[]string{"login-to-plain"}, hello + `S: 250 AUTH PLAIN
C: AUTH LOGIN dXNlcg==
S: 504 dXNlcg== is no mechanism
C: QUIT`, "the client gets 334 ...(12 octets); in the recording it got 504 ...(8 octets) is no mechanism"},
		"another name in the login": {[]string{"advertise-esmtp"}, hello + `S: 250 AUTH LOGIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C- dXNlcg==
C+ c2VjcmV0
S: 334 UGFzc3dvcmQ6
C: c2VjcmV0
S: 235 ok`, "the server gets ...(8 octets); in the recording it got ...(8 octets)"},
		"a login that nobody answers": {[]string{"advertise-esmtp"}, hello + `S: 250 AUTH LOGIN
C: AUTH LOGIN
C: dXNlcg==`, "the recording does not have what comes next: C: ...(8 octets) is not what is waited for"},
		"another login that was refused": {[]string{"advertise-esmtp"}, hello + `S: 250 AUTH LOGIN
C- AUTH PLAIN AHVzZXIAc2VjcmV0
C+ AUTH=c2VjcmV0
S: 535 c2VjcmV0 not known
C: QUIT`, "the server gets AUTH ...; it refused AUTH ... with 535 ...(8 octets) not ...(5 octets)"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rules := range c.rules {
				r := playedAs(t, dialogueOf(t, rules, c.lines))
				if r.Unknown.Why != c.unknown {
					t.Errorf("%s: unknown is %q", rules, r.Unknown.Why)
				}
				for _, l := range r.Lines {
					checkSecret(t, l.Text)
				}
				for _, refusal := range r.Refusals {
					checkSecret(t, refusal.Text)
				}
				checkSecret(t, r.Unknown.Why)
				checkSecret(t, r.Assumed.Why)
				for _, a := range r.Rules {
					checkSecret(t, a.Said.Text)
				}
			}
		})
	}
}

func checkSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"AHVzZXIAc2VjcmV0", "dXNlcg==", "c2VjcmV0", "secret"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q has %s in it", text, secret)
		}
	}
}

// FuzzPlay plays anything that can be read.
func FuzzPlay(f *testing.F) {
	f.Add("standard", "S: 220 a\nC: EHLO sub2.\nS: 501 Invalid Address\nC: QUIT", "")
	f.Add("label-8bit\nlong-lines\nleading-dots\ndot-with-text", "S: 220 a\nC: MAIL FROM:<a@b.c>\nS: 250 a\nC: RCPT TO:<a@b.c>\nS: 250 a\nC: DATA\nS: 354 a\n~ message 9 bytes\nS: 250 a\nC: QUIT", "A: \xe9\n\r\r\n..\r\n.\n.\r\n")
	f.Add("auto", "S: 220 a\nC: AUTH LOGIN ...(8 octets)\nS: 334 ...(9999999999 octets)\n~ server again\n~ message 5 bytes\n~ server lost", ".\r\n")
	f.Fuzz(func(t *testing.T, rules, lines, text string) {
		file, err := transcript.Parse("x", []byte("-- rules --\n"+rules+"\n-- dialogue --\n"+lines+"\n"))
		if err != nil {
			return
		}
		policy, err := play.Policy(file)
		if err != nil {
			return
		}
		texts := play.Texts{}
		for i, l := range file.Dialogue {
			if l.IsMessage() {
				texts[i] = text
			}
		}
		r := play.Play(file, policy, texts)
		if r.Played > r.Said || r.Played < 0 || r.Unknown.Line > len(file.Dialogue) || r.Assumed.Line > len(file.Dialogue) {
			t.Errorf("%+v", r)
		}
		for _, text := range r.Broke {
			t.Errorf("a rule broke: %s", text)
		}
	})
}

// TestARuleIsNamedAtTheCommandThatItChanges has one whose reply the recording knows, and
// one whose reply it does not.
func TestARuleIsNamedAtTheCommandThatItChanges(t *testing.T) {
	for name, c := range map[string]struct{ reply, why string }{
		"known":     {"250 hello", ""},
		"not known": {"501 Invalid Address", "the server gets EHLO sub2; it refused EHLO sub2. with 501 Invalid Address"},
	} {
		t.Run(name, func(t *testing.T) {
			r := playedAs(t, dialogueOf(t, "fix-hello-name", "S: 220-mail.example.com Microsoft SMTP MAIL ready at Sat, 28 Aug 1999\nS: 220 ESMTP spoken here\nC: EHLO sub2.\nS: "+c.reply+"\nC: QUIT\nS: 221 bye"))
			want := []play.Act{{Rule: "fix-hello-name", Count: 1, Line: 3, Said: transcript.Line{Side: transcript.Client, Mark: transcript.Removed, Rule: "fix-hello-name", Text: "EHLO sub2."}}}
			if !reflect.DeepEqual(r.Rules, want) {
				t.Errorf("rules %+v, want %+v", r.Rules, want)
			}
			if r.Unknown.Why != c.why {
				t.Errorf("unknown %+v, want %q", r.Unknown, c.why)
			}
		})
	}
}

func TestAPlayEndsWhereARecordingLeavesOutLines(t *testing.T) {
	lines := []transcript.Line{{Side: 'S', Mark: ':', Text: "220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready"}, {Side: 'C', Mark: ':', Text: "EHLO sub2."},
		transcript.LeftOut(7), {Side: 'C', Mark: ':', Text: "MAIL FROM:<anna@example.com>"}, {Side: 'S', Mark: ':', Text: "550 no"}}
	r := playedAs(t, &transcript.File{Rules: []string{"advertise-esmtp"}, Dialogue: lines})
	if r.Unknown != (play.Change{Line: 3, Why: "the recording leaves out what comes next: 7 lines left out"}) || r.Said != 4 || r.Played != 2 {
		t.Errorf("%+v", r)
	}
	if len(r.Rules) != 1 || len(r.Refusals) != 0 {
		t.Errorf("rules %+v, refusals %+v", r.Rules, r.Refusals)
	}
}

package rewrite_test

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// A witness hears what rules do, and what observed rules would do.
type witness struct {
	silent
	applied, would map[string]int
	broken         []string
	lines          []string
}

func newWitness() *witness { return &witness{applied: map[string]int{}, would: map[string]int{}} }

func (w *witness) Applied(rule string) { w.applied[rule]++ }
func (w *witness) Broke(rule, why string) {
	w.broken = append(w.broken, rule+": "+why)
}
func (w *witness) Would(rule, line string) {
	w.would[rule]++
	w.lines = append(w.lines, rule+": "+line)
}

// observing is the policy of a file whose rules are observed and not in force.
func observing(t *testing.T, f *transcript.File) *rewrite.Policy {
	p := policyOf(t, f)
	p.Rules, p.Observed = nil, p.Rules
	return p
}

// TestObservedRulesChangeNothing plays every dialogue of testdata without rules, and with
// its rules observed: both sides get the same, to the octet.
func TestObservedRulesChangeNothing(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			bare := policyOf(t, f)
			bare.Rules = nil
			want := playUnder(t, bare, f, silent{})
			w := newWitness()
			got := playUnder(t, observing(t, f), f, w)
			if diff := transcript.Compare(want, got); diff != "" {
				t.Errorf("without rules, and with rules observed:\n%s", diff)
			}
			for rule := range w.applied {
				if !slices.Contains(vocabulary.Safeguards(), vocabulary.Safeguard(rule)) {
					t.Errorf("the observed rule %s is told of as if it had acted", rule)
				}
			}
			if len(w.broken) > 0 {
				t.Errorf("observed rules broke: %q", w.broken)
			}
		})
	}
}

// unseen are the rules that act in a dialogue of testdata and of which an observation of
// it does not tell, by dialogue: what they would mend comes only of what a rule has done
// before, or before the client is greeted.
var unseen = map[string][]string{
	"accept-early-tls":                        {"accept-early-tls"}, // the client's TLS octets are never sent to us in a transcript
	"auth-rules-together":                     {"auth-prompts", "defer-auth-failures"},
	"fix-hello-name":                          {"fall-back-to-helo"},
	"greet-in-clear":                          {"greet-in-clear"},
	"greet-in-clear-starttls":                 {"greet-in-clear"},
	"helo-to-ehlo-login-to-plain":             {"login-to-plain"},
	"map-auth-names-to-plain":                 {"map-auth-names"},
	"plain-keywords-help":                     {"starttls-keyword"},
	"retry-starttls-first-connection-no-ehlo": {"retry-starttls"},
	"second-replies":                          {"reply-separators"},
}

// TestWhatWouldHealIsTold holds what is told of observed rules against what these rules do
// where they are in force, in each dialogue of testdata.
func TestWhatWouldHealIsTold(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	for title, f := range all {
		t.Run(title, func(t *testing.T) {
			would, does := newWitness(), newWitness()
			playUnder(t, observing(t, f), f, would)
			play(t, f, does)
			var missed []string
			for _, rule := range slices.Sorted(maps.Keys(does.applied)) {
				if !slices.Contains(vocabulary.Safeguards(), vocabulary.Safeguard(rule)) && would.would[rule] == 0 {
					missed = append(missed, rule)
				}
			}
			if !slices.Equal(missed, unseen[title]) {
				t.Errorf("nothing is told of %q, and of %q it was expected; told were %v", missed, unseen[title], would.would)
			}
		})
	}
}

// observed begins a dialogue under observed rules.
func observed(t *testing.T, names []string, options map[string]map[string]any) (*rewrite.Dialogue, *witness) {
	t.Helper()
	rules, errs := heal.Compile(names, options)
	if errs != nil {
		t.Fatal(errs)
	}
	w := newWitness()
	return rewrite.New(&rewrite.Policy{Observed: rules, Hostname: "relay.example.com"}, netip.MustParseAddr("192.0.2.7"), w), w
}

func TestTheLineThatWouldBeChangedIsTold(t *testing.T) {
	d, w := observed(t, []string{"upper-case-verbs", "one-line-replies", "join-data-reply"}, nil)
	d.Greeting([]byte("220-mail.example.com\r\n220 ready\r\n"))
	for _, turn := range [][2]string{
		{"HELO client.example.net\r\n", "250 mail.example.com\r\n"},
		{"mail FROM:<a@example.net>\r\n", "250 ok\r\n"},
		{"RCPT TO:<b@example.com>\r\n", "250 ok\r\n"},
		{"DATA\r\n", "354-go\r\n354 on\r\n"},
	} {
		if !d.Command([]byte(turn[0]), false) {
			t.Fatalf("%q was not taken", turn[0])
		}
		d.Reply([]byte(turn[1]), false, false)
	}
	want := []string{"one-line-replies: 220-mail.example.com", "upper-case-verbs: mail FROM:<a@example.net>", "join-data-reply: 354-go"}
	if !slices.Equal(w.lines, want) {
		t.Errorf("told %q, want %q", w.lines, want)
	}
	const toServer = "HELO client.example.net\r\nmail FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
	if string(d.ToServer) != toServer {
		t.Errorf("the server got %q", d.ToServer)
	}
}

func TestNoCredentialIsToldOfAnObservedRule(t *testing.T) {
	d, w := observed(t, []string{"split-auth-line", "login-to-plain"}, map[string]map[string]any{"split-auth-line": {"lines": "all"}})
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("250-mail.example.com\r\n250 AUTH LOGIN PLAIN\r\n"), false, false)
	d.Command([]byte("AUTH PLAIN AHNlY3JldHVzZXIAc2VjcmV0cGFzcw==\r\n"), false)
	d.Reply([]byte("501 no AHNlY3JldHVzZXIAc2VjcmV0cGFzcw==\r\n"), false, false)
	told := strings.Join(w.lines, "\n")
	if !strings.Contains(told, "split-auth-line: 501 ") {
		t.Errorf("split-auth-line is not among what is told: %q", told)
	}
	if strings.Contains(told, "AHNlY3") {
		t.Errorf("a credential is told: %q", told)
	}
}

// meddling is a rule that would change whatever it sees.
func meddling(t *testing.T) *rewrite.Rules {
	t.Helper()
	book := rewrite.Book{Rules: []rewrite.Rule{{Name: "meddles", Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
		set := func(t *rewrite.Turn) { t.SetLine(string(t.Line()) + " x") }
		return rewrite.Actions{
			Command: set, Commands: rewrite.EveryVerb, SASL: set,
			Line:    func(_ rewrite.Session, octets []byte) []byte { return bytes.TrimRight(octets, "\r\n") },
			Reply:   func(t *rewrite.Turn) { t.Reply().Lines = append(t.Reply().Lines, "x") },
			Replies: rewrite.EveryVerb,
			Repair:  func(r *rewrite.Repair) { r.Replace(len(r.Octets()), []byte("500 x\r\n")) },
		}, nil
	}}}}
	rules, errs := book.Compile([]string{"meddles"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// TestNoSecretIsToldWhateverARuleWouldDo has a credential come wherever one may: in AUTH, in
// its exchange, in the reply that refuses it, as a command once it was refused, in octets
// that are no reply and in lines that are none.
func TestNoSecretIsToldWhateverARuleWouldDo(t *testing.T) {
	const secret = "AHNlY3JldHVzZXIAc2VjcmV0cGFzcw=="
	w := newWitness()
	d := rewrite.New(&rewrite.Policy{Observed: meddling(t)}, netip.MustParseAddr("192.0.2.7"), w)
	told := func(where string, do func()) {
		t.Helper()
		before := len(w.lines)
		do()
		if len(w.lines) == before {
			t.Errorf("%s: nothing is told", where)
		}
		if got := strings.Join(w.lines[before:], "\n"); strings.Contains(got, "AHNlY3") {
			t.Errorf("%s: a credential is told: %q", where, got)
		}
	}
	command := func(line string) func() { return func() { d.Command([]byte(line), false) } }
	reply := func(line string) func() { return func() { d.Reply([]byte(line), false, false) } }
	told("greeting", func() { d.Greeting([]byte("220 mail.example.com ESMTP\r\n")) })
	told("EHLO", command("EHLO client.example.net\r\n"))
	told("its reply", reply("250-mail.example.com\r\n250 AUTH LOGIN PLAIN\r\n"))
	told("AUTH", command("AUTH LOGIN\r\n"))
	told("its challenge", reply("334 VXNlcm5hbWU6\r\n"))
	told("a line of SASL", func() { d.SASL([]byte(secret + "\r\n")) })
	told("octets that are no reply", func() { d.Repair([]byte("no "+secret+"\r\n"), 0) })
	told("a refusal", reply("535 no "+secret+"\r\n"))
	told("a credential for a command", command(secret+"\r\n"))
	told("its refusal", reply("500 "+secret+"?\r\n"))
	told("AUTH with a credential", command("AUTH PLAIN "+secret+"\r\n"))
	told("its refusal", reply("504 what is "+secret+"\r\n"))
	told("AUTH that is no line", command("AUTH PLAIN "+secret+"\n"))
	d.Command([]byte("AUTH LOGIN\r\n"), false)
	reply("334 VXNlcm5hbWU6\r\n")()
	told("SASL that is no line", func() { d.SASL([]byte(secret + "\n")) })
}

// TestAnObservedRuleLeavesAMessageAlone shows that a filter that would change a message,
// and one that would end it elsewhere, change and end nothing, however the message comes.
func TestAnObservedRuleLeavesAMessageAlone(t *testing.T) {
	message := "Subject: x\r\n\r\n" + strings.Repeat("long ", 300) + "\r\nend\r\n.\r\n"
	for _, size := range []int{1, 2, 7, 1000, len(message)} {
		d, w := observed(t, []string{"long-lines"}, map[string]map[string]any{"long-lines": {"mode": "fold"}})
		var got []byte
		ended := false
		for at := 0; at < len(message) && !ended; {
			src := []byte(message[at:min(at+size, len(message))])
			out, n, end := d.Text().Next(nil, src)
			for n == 0 && at+len(src) < len(message) {
				src = []byte(message[at : at+len(src)+1])
				out, n, end = d.Text().Next(nil, src)
			}
			got, ended = append(got, out...), end
			at += n
		}
		d.MessageEnd(int64(len(message)))
		if string(got) != message || !ended {
			t.Errorf("in pieces of %d octets: got %d octets, ended %v; want the message's %d", size, len(got), ended, len(message))
		}
		if w.would["long-lines"] != 1 {
			t.Errorf("in pieces of %d octets: long-lines would have acted on %d messages, want 1", size, w.would["long-lines"])
		}
	}
}

func TestAnObservedRuleEndsNoMessageAtLF(t *testing.T) {
	d, w := observed(t, []string{"lf-ends"}, map[string]map[string]any{"lf-ends": {"clients": []any{"192.0.2.0/24"}}})
	out, n, end := d.Text().Next(nil, []byte("text\n.\nMAIL FROM:<x@example.net>\r\n.\r\n"))
	if !end || n != len("text\n.\nMAIL FROM:<x@example.net>\r\n.\r\n") || strings.Count(string(out), "\r\n.\r\n") != 1 {
		t.Errorf("got %q after %d octets, end %v", out, n, end)
	}
	d.MessageEnd(int64(n))
	if w.would["lf-ends"] != 1 {
		t.Errorf("lf-ends would have acted %d times, want 1", w.would["lf-ends"])
	}
}

// lessonBook is a Memory.
type lessonBook map[string]bool

func (b lessonBook) Remember(key string, _ int) { b[key] = true }
func (b lessonBook) Remembers(key string) bool  { return b[key] }

func TestWhatAnObservedRuleLearnsIsNothingForRulesInForce(t *testing.T) {
	rules, errs := heal.Compile([]string{"hide-failed-starttls"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	book := lessonBook{}
	w := newWitness()
	session := func(p *rewrite.Policy) (ehlo string) {
		d := rewrite.New(p, netip.MustParseAddr("192.0.2.7"), w)
		d.Serves(book)
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		d.Command([]byte("EHLO client.example.net\r\n"), false)
		d.ToClient = nil
		d.Reply([]byte("250-mail.example.com\r\n250 STARTTLS\r\n"), false, false)
		ehlo = string(d.ToClient)
		d.Command([]byte("STARTTLS\r\n"), false)
		d.Reply([]byte("454 4.7.0 TLS not available\r\n"), false, false)
		d.Close()
		return ehlo
	}
	session(&rewrite.Policy{Observed: rules})
	if w.would["hide-failed-starttls"] != 0 {
		t.Errorf("the first session tells %q", w.lines)
	}
	if session(&rewrite.Policy{Observed: rules}); w.would["hide-failed-starttls"] != 1 {
		t.Errorf("the second session tells %q, and the rule had learned in the first", w.lines)
	}
	if got := session(&rewrite.Policy{Rules: rules}); !strings.Contains(got, "STARTTLS") {
		t.Errorf("a rule in force acts on what an observed one has learned: %q", got)
	}
}

// FuzzObserved has two peers do whatever they like, under rules that are observed: both
// sides get what they get without them, and no rule does what the engine has to take back.
func FuzzObserved(f *testing.F) {
	for _, seed := range dialogueSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) { playObserved(t, data) })
}

// playObserved plays one session without rules, and with rules observed.
func playObserved(t *testing.T, data []byte) {
	session := func(observe bool) string {
		p := &peers{T: t, data: data, got: newReached()}
		p.polite = p.pick(2) == 0
		names, options := chooseRules(p.pick)
		rules := compileChosen(t, names, options)
		policy := p.route(nil)
		if observe {
			policy.Observed = rules
		}
		return p.play(policy, nil)
	}
	if bare, observed := session(false), session(true); bare != observed {
		t.Fatalf("with rules observed\n%swithout\n%s", observed, bare)
	}
}

func TestAnObservedRuleThatPanicsIsToldAndHarmsNothing(t *testing.T) {
	book := rewrite.Book{Rules: []rewrite.Rule{{Name: "falls", Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
		fall := func(*rewrite.Turn) { panic("down") }
		return rewrite.Actions{Command: fall, Commands: rewrite.EveryVerb, Reply: fall, Replies: rewrite.EveryVerb}, nil
	}}}}
	rules, errs := book.Compile([]string{"falls"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	w := newWitness()
	d := rewrite.New(&rewrite.Policy{Observed: rules}, netip.MustParseAddr("192.0.2.7"), w)
	d.Greeting([]byte("220 mail.example.com\r\n"))
	d.Command([]byte("HELO client.example.net\r\n"), false)
	d.Reply([]byte("250 ok\r\n"), false, false)
	if got := string(d.ToServer) + string(d.ToClient); got != "HELO client.example.net\r\n220 mail.example.com\r\n250 ok\r\n" {
		t.Errorf("got %q", got)
	}
	if len(w.broken) != 3 || !strings.HasPrefix(w.broken[0], "falls: panic: down") || len(w.would) != 0 {
		t.Errorf("told %q, would %v", w.broken, w.would)
	}
}

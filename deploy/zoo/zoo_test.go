//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFilesAreRead(t *testing.T) {
	behaviours, err := readBehaviours("behaviours")
	if err != nil || len(behaviours) < 25 {
		t.Errorf("%d behaviours, %v", len(behaviours), err)
	}
	dialogues, err := readDialogues("dialogues")
	if err != nil || len(dialogues) < 100 {
		t.Errorf("%d dialogues, %v", len(dialogues), err)
	}
	if _, err := readReasons("reasons.txt"); err != nil {
		t.Error(err)
	}
}

func TestAReasonForEverythingIsNone(t *testing.T) {
	for line, want := range map[string]bool{
		"clients * lf-ends none why":       true,
		"servers go-smtp * * why":          false,
		"servers * lines/* none why":       true,
		"servers * lines/* none":           false,
		"servers * lines/[ none why":       false,
		"clients * * none why":             false,
		"servers * */* none why":           false,
		"servers ** * standard why it was": false,
	} {
		name := filepath.Join(t.TempDir(), "reasons.txt")
		if err := os.WriteFile(name, []byte(line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readReasons(name); (err == nil) != want {
			t.Errorf("%q: %v, want taken: %v", line, err, want)
		}
	}
}

func TestResultsAreKeptForTheNextRun(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.json")
	plays, reason := 0, ""
	j := job{half: "server", peer: Peer{Name: "b"}, play: func() ([]Result, error) {
		plays++
		return []Result{{Half: "servers", Peer: "b", Case: "helo/none", Rules: "[]", Verdict: Worse, Why: "250 -> 500"}}, nil
	}}
	for range 2 {
		k, err := openKeeper(name)
		if err != nil {
			t.Fatal(err)
		}
		z := &Zoo{kept: k}
		if plays > 0 {
			z.reasons = []*Reason{{half: "servers", peer: "b", of: "helo/*", rules: "none", why: "because"}}
		}
		results, err := z.play(j)
		if err != nil || len(results) != 1 || results[0].Verdict != Worse || results[0].Why != "250 -> 500" {
			t.Errorf("%v, %v", results, err)
		}
		reason = results[0].Reason
		k.file.Close()
	}
	if plays != 1 || reason != "because" {
		t.Errorf("the reason is %q; it was played %d times, want once", reason, plays)
	}
}

// startFirst starts a server with the first of the behaviours.
func startFirst(t *testing.T) *ScriptedServer {
	t.Helper()
	behaviours, err := readBehaviours("behaviours")
	if err != nil {
		t.Fatal(err)
	}
	s, err := startScripted(behaviours[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestScriptedServerKeepsWhatItAccepts(t *testing.T) {
	s := startFirst(t)
	d := &Dialogue{}
	for _, line := range []string{"~ envelope", "M: Subject: zoo", `M: ""`, "M: ..one", "C: .", "C: QUIT"} {
		if err := d.add(line); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := speak(d, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Take(); !slices.Equal(got, []string{"Subject: zoo\n\n.one\n"}) {
		t.Errorf("kept %q after\n%q", got, lines)
	}
}

func TestDeliveriesAreJudgedByWhatBothSidesBelieve(t *testing.T) {
	text := []string{"Subject: zoo\n\n.two\n..three\n"}
	wrong := []string{"Subject: zoo\n\n..two\n...three\n"}
	for _, test := range []struct {
		direct, through Delivery
		want            Verdict
	}{
		{Delivery{Messages: text}, Delivery{Messages: text}, Same},
		{Delivery{Status: 1}, Delivery{Status: 69}, Same},
		{Delivery{Status: 1}, Delivery{Messages: text}, Better},
		{Delivery{Messages: text}, Delivery{Status: 1}, Worse},
		{Delivery{Messages: text}, Delivery{Messages: text, Status: 1}, Worse},
		{Delivery{Messages: text}, Delivery{Messages: slices.Concat(text, text)}, Worse},
		{Delivery{Status: 1}, Delivery{Status: 0}, Worse},
		{Delivery{Status: 1}, Delivery{Status: -1}, Worse},
		{Delivery{Messages: text}, Delivery{Messages: wrong}, Worse},
		{Delivery{Messages: wrong}, Delivery{Messages: text}, Better},
		{Delivery{Messages: text}, Delivery{Messages: text, Took: time.Minute}, Worse},
	} {
		if got := test.direct.judge(test.through); got.Verdict != test.want {
			t.Errorf("%v %q, then %v %q: %c, want %c", test.direct, test.direct.Messages, test.through, test.through.Messages, got.Verdict, test.want)
		}
	}
}

func TestRepliesAreJudgedByTheirCodes(t *testing.T) {
	for _, test := range []struct {
		direct, through string
		want            Verdict
	}{
		{"S: 250 Ok", "S: 250 fine", Same},
		{"S: 250 Ok", "S: 500 no", Worse},
		{"S: 550 no", "S: 421 bye", Worse},
		{"S: 500 no", "S: 250 Ok", Better},
		{"S: (closed)", "S: 421 bye", Better},
		{"S: 421 bye", "S: (silent)", Worse},
		{"S: 550 no", "S: 501 no", Differs},
		{"S: 450 later", "S: 550 no", Worse},
		{"S: 550 no", "S: 450 later", Differs},
		{"S: 500 no\nS: 250 Ok", "S: 502 no\nS: 500 no", Worse},
		{"S: 500 no\nS: 250 Ok", "S: 502 no\nS: 250 Ok", Differs},
		{"S: 500 no\nS: 500 no", "S: 500 no", Differs},
		{"S: 500 no\nS: 250 Ok", "S: 500 no\nS: (closed)", Worse},
	} {
		if got := judgeReplies(strings.Split(test.direct, "\n"), strings.Split(test.through, "\n")); got.Verdict != test.want {
			t.Errorf("%q, then %q: %c, want %c", test.direct, test.through, got.Verdict, test.want)
		}
	}
}

func TestServersAreToGetTheSameOctets(t *testing.T) {
	same := []string{"C: BDAT 1 LAST", "S: 354 go ahead", "S: 250 Ok"}
	for _, test := range []struct {
		direct, through string
		want            Verdict
	}{
		{"DATA\r\n.\r\n", "DATA\r\n.\r\n", Same},
		{"DATA\r\n.\r\n", "DATA\r\n.\r\nQUIT\r\n", Same},
		{"EHLO a\r\nDATA\r\n.\r\n", "EHLO a\r\nHELO a\r\nDATA\r\n.\r\n", Same},
		{"DATA\r\n..\r\n.\r\n", "DATA\r\n.\r\n.\r\n", Worse},
		{"BDAT 1 LAST\r\na", "BDAT 1 LAST\r\nb", Worse},
	} {
		direct, through := Spoken{same, []byte(test.direct)}, Spoken{same, []byte(test.through)}
		if got := direct.judge(through); got.Verdict != test.want {
			t.Errorf("%q, then %q: %c, want %c", test.direct, test.through, got.Verdict, test.want)
		}
	}
}

func TestTheTapBeforeAServerSeesWhatItGets(t *testing.T) {
	s := startFirst(t)
	tap, err := startTap(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	d := &Dialogue{Exact: true}
	if err := errors.Join(d.add("C: NOOP"), d.add("C: QUIT")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what was said first is forgotten
		spoken, err := play(d, tap, tap.Addr)
		if err != nil || string(spoken.Octets) != "NOOP\r\nQUIT\r\n" {
			t.Errorf("the server got %q, %v", spoken.Octets, err)
		}
	}
}

func TestWhatIsWorseIsPlayedAgain(t *testing.T) {
	yes, no, closed := Spoken{Lines: []string{"S: 250 Ok"}}, Spoken{Lines: []string{"S: 550 no"}}, Spoken{Lines: []string{"S: (closed)"}}
	of := Result{Half: "servers", Peer: "exim", Case: "verbs/noop", Rules: "standard"}
	reason := &Reason{half: "*", peer: "*", of: "verbs/noop", rules: "*", why: "because"}
	for _, test := range []struct {
		name            string
		direct, through []Spoken // one for each try
		reasons         []*Reason
		want            Verdict
	}{
		{"the same", []Spoken{yes}, []Spoken{yes}, nil, Same},
		{"worse each time", []Spoken{yes, yes, yes}, []Spoken{no, no, no}, nil, Worse},
		{"worse once", []Spoken{yes, yes}, []Spoken{no, yes}, nil, Same},
		{"worse with a reason", []Spoken{yes}, []Spoken{no}, []*Reason{reason}, Worse},
		{"unsteady alone", []Spoken{yes, no, yes}, []Spoken{no, no, no}, nil, Same},
		{"unsteady alone and worse", []Spoken{no, yes}, []Spoken{closed, closed}, nil, Unsteady},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := &Zoo{reasons: test.reasons}
			direct, through := test.direct, test.through
			next := func(list *[]Spoken) (Spoken, error) {
				if len(*list) == 0 {
					return Spoken{}, errors.New("it is played too often")
				}
				s := (*list)[0]
				*list = (*list)[1:]
				return s, nil
			}
			first, _ := next(&direct)
			r, _, err := compare(z, of, first, func() (Spoken, error) { return next(&direct) }, func() (Spoken, error) { return next(&through) })
			if err != nil || r.Verdict != test.want || (r.Reason != "") != (test.reasons != nil) {
				t.Errorf("%v, %v; want %c", r, err, test.want)
			}
		})
	}
}

func TestReasonsAllowOnlyWhatTheyName(t *testing.T) {
	reasons := []*Reason{{half: "servers", peer: "*", of: "verbs/*", rules: "none", why: "because"}}
	r := Result{Half: "servers", Peer: "exim", Case: "verbs/turn", Rules: "[]"}
	if got := excuse(reasons, r); got != "because" {
		t.Errorf("%v is not allowed", r)
	}
	r.Rules = "standard"
	if got := excuse(reasons, r); got != "" {
		t.Errorf("%v is allowed: %s", r, got)
	}
}

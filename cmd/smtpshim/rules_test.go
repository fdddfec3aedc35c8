package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

func TestRulesAreFoundByWhatAnAdministratorSees(t *testing.T) {
	for text, want := range map[string]string{
		"501 Invalid Address": "fix-hello-name",
		"Remote host said: 501-5.5.4 Invalid\tADDRESS [192.0.2.1]": "fix-hello-name",
		"<b@example.com>: 554 5.6.1 body type not supported":       "", // not all of the symptom
		"body type not supported by remote host":                   "hide-keywords offer-8bitmime",
		"server broke the protocol":                                "empty-reply-lines reply-line-ends long-reply-lines join-hello-replies second-replies last-words",
		"220 ****************2*****0***":                           "advertise-esmtp",
		"KB912341":                                                 "join-data-reply",
		"printers begin with TLS":                                  "accept-early-tls",
		"printers that sing":                                       "",
		"? !":                                                      "",
	} {
		var got []string
		for _, f := range findRules(text) {
			got = append(got, f.rule.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q leads to %q, want %q", text, got, want)
		}
	}
}

// Whoever pastes a symptom finds its rule, whatever stands around it.
func TestEachSymptomLeadsToItsRules(t *testing.T) {
	_, list, _ := call("rules")
	list = strings.Join(strings.Fields(list), " ")
	for _, r := range heal.Table() {
		for _, s := range r.Symptoms {
			_, out, _ := call("rules", "host mail.example.com[192.0.2.1] said: "+s+" (in reply to a command)")
			if !strings.Contains("\n"+out, "\n"+r.Name+"\n") {
				t.Errorf("%q leads to\n%swant %s", s, out, r.Name)
			}
			_, rules, _ := strings.Cut(list, s+" ")
			if !strings.Contains(rules, r.Name) {
				t.Errorf("the list of symptoms has no %q of %s", s, r.Name)
			}
		}
	}
}

// The documents list the names that stand beside a changed line and are no rules.
func TestRulesTellsOfEveryNameInTheDocumentsThatIsNoRule(t *testing.T) {
	text, err := os.ReadFile("../../deploy/doc/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, found := strings.Cut(string(text), "\nChanges of this kind have these names")
	tables, _, _ = strings.Cut(tables, "\n## ")
	names := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\||\\| (`[a-z-]+`) \\|$").FindAllStringSubmatch(tables, -1) {
		for name := range strings.SplitSeq(row[1]+row[2], ", ") {
			names[strings.Trim(name, "`")] = true
		}
	}
	for _, s := range vocabulary.Safeguards() {
		if !names[string(s)] {
			t.Errorf("the documents do not name %s", s)
		}
	}
	if !found || len(names) < 12 {
		t.Fatalf("only %v", names)
	}
	for name := range names {
		if besideRules[name] == "" {
			t.Errorf("smtpshim rules %s says nothing of it", name)
		}
	}
}

// Whoever asks for a name that stands beside a changed line learns what it means.
func TestRulesTellsOfNamesThatAreNoRules(t *testing.T) {
	if status, out, _ := call("rules", "replace-size"); status != succeeded || !strings.Contains(out, "[[route.replace]]") {
		t.Errorf("of a rule of [[route.replace]] it says %d, %s", status, out)
	}
	for name, says := range besideRules {
		status, out, _ := call("rules", name)
		if got := strings.Join(strings.Fields(out), " "); status != succeeded || got != name+" is no rule. "+says {
			t.Errorf("%s: %d, %s", name, status, out)
		}
	}
}

func TestSymptomsStandUnderTheCodeThatTheyBeginWith(t *testing.T) {
	for symptom, want := range map[string]string{
		"220 ready": "2xx", "354": "2xx", "421 bye": "421", "451 later": "4xx", "500-what": "500 to 505", "505 no": "500 to 505", "555 no": "500 to 505",
		"535 no": "530 to 538", "521 no": "other 5xx", "550 no": "other 5xx", "552": "other 5xx", "5000 messages": "Without a code",
		"no route": "Without a code", "42": "Without a code", "": "Without a code",
	} {
		if got := symptomGroups[symptomGroup(symptom)].heading; !strings.Contains(got, want) {
			t.Errorf("%q stands under %q, want %q", symptom, got, want)
		}
	}
}

func TestARuleIsShownWithItsTranscript(t *testing.T) {
	_, out, _ := call("rules", "join-data-reply")
	for _, want := range []string{"\nOn the wire;", "  S- 354-Line 1\n", "Catalogue:  L60 sender takes a 354's first line for all of it\n",
		"What is seen:\n\n  messages to certain domains are retried until they expire\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not have %q:\n%s", want, out)
		}
	}
	if _, out, _ := call("rules", "stray-bytes"); strings.Contains(out, "On the wire") {
		t.Errorf("there is no transcript of stray-bytes:\n%s", out)
	}
}

func TestRulesAsJSONAreAllThereAre(t *testing.T) {
	_, out, _ := call("rules", "-json")
	var got struct {
		Rules   []ruleJSON
		Sets    []setJSON
		Entries []entryJSON
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rules) != len(heal.Table()) || len(got.Sets) != len(heal.Sets()) {
		t.Errorf("%d rules and %d sets, want %d and %d", len(got.Rules), len(got.Sets), len(heal.Table()), len(heal.Sets()))
	}
	for i, r := range heal.Table() {
		if g := got.Rules[i]; g.Name != r.Name || g.Doc != r.Doc || strings.Join(g.Symptoms, "|") != strings.Join(r.Symptoms, "|") ||
			len(g.Options) != len(r.Options) {
			t.Errorf("rule %d is %+v, want %s", i, g, r.Name)
		}
	}
	c, n := covered(), 0
	for _, s := range heal.Catalogue() {
		for _, e := range s.Entries {
			if n >= len(got.Entries) {
				t.Fatalf("%d entries; %s is missing", n, e.Number)
			}
			if g := got.Entries[n]; g.Number != e.Number || g.Subject != s.Name || g.Status != c.Status(e) || g.State != c.State(e) {
				t.Errorf("entry %d is %+v, want %s", n, g, e.Number)
			}
			n++
		}
	}
}

// A table of the README is made by the program; so is what it says of all entries.
func TestTheCoverageHasEachEntryWithItsState(t *testing.T) {
	_, list, _ := call("rules", "-coverage")
	_, table, _ := call("rules", "-coverage", "-markdown")
	list = strings.Join(strings.Fields(list), " ")
	c, healed := covered(), 0
	for _, s := range heal.Catalogue() {
		for _, e := range s.Entries {
			if c.Status(e) == heal.Healed {
				healed++
			}
			row := "| " + e.Number + " | " + cell(e.Wrong) + " | " + cell(e.Source) + " | " + cell(e.How) + " | " + cell(c.State(e)) + " |\n"
			if !strings.Contains(table, row) {
				t.Errorf("the table does not have %s", row)
			}
			if want := e.Number + " " + e.Wrong + " " + strings.ReplaceAll(c.State(e), "`", ""); !strings.Contains(list, want) {
				t.Errorf("the list does not have %q", want)
			}
		}
	}
	if healed == 0 || !strings.Contains(sum(c), "are healed and") {
		t.Errorf("%d entries are healed: %s", healed, sum(c))
	}
	if s := sum(heal.Cover(heal.Catalogue(), []rewrite.Rule(nil))); s == sum(c) {
		t.Errorf("without rules it says %q too", s)
	}
}

package heal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
)

// numbered are the numbers that the catalogue has, first and last of each run.
var numbered = [][2]int{{1, 14}, {20, 28}, {30, 39}, {40, 54}, {60, 75}, {80, 96}, {100, 108}, {110, 129}}

func numbers() (list []string) {
	for _, run := range numbered {
		for n := run[0]; n <= run[1]; n++ {
			list = append(list, fmt.Sprintf("L%02d", n))
		}
	}
	return list
}

func entries() (list []heal.Entry) {
	for _, s := range heal.Catalogue() {
		list = append(list, s.Entries...)
	}
	return list
}

func TestTheCatalogueHasEachNumberOnceAndInOrder(t *testing.T) {
	var got []string
	for _, e := range entries() {
		got = append(got, e.Number)
	}
	if want := numbers(); !slices.Equal(got, want) {
		t.Errorf("the catalogue has %q,\nwant %q", got, want)
	}
}

func TestEachEntryHasARuleOrAReason(t *testing.T) {
	c := heal.Cover(heal.Catalogue(), heal.Table())
	for _, e := range entries() {
		if e.Wrong == "" || e.Source == "" {
			t.Errorf("%s does not say what goes wrong, or who says so", e.Number)
		}
		if len(c.Rules(e)) == 0 && e.Proxy == "" && e.Out == "" && e.How == "" && e.As == nil {
			t.Errorf("%s, %s: there is neither a rule nor a reason why not", e.Number, e.Wrong)
		}
		if e.As != nil && (e.How != "" || e.Proxy != "" || e.Left != "" || e.Out != "") {
			t.Errorf("%s is as other entries, and has a state of its own", e.Number)
		}
		if e.Untold != "" && heal.Untold()[e.Untold] == "" {
			t.Errorf("%s names the set %s, which auto looks for", e.Number, e.Untold)
		}
		for _, number := range e.As {
			if other, ok := c.Entry(number); !ok || other.As != nil {
				t.Errorf("%s is as %s, which is no entry with a state of its own", e.Number, number)
			}
		}
	}
}

func TestRulesNameEntriesThatAreThere(t *testing.T) {
	known := numbers()
	for _, r := range heal.Table() {
		for i, number := range r.Entries {
			if !slices.Contains(known, number) {
				t.Errorf("the rule %s heals %s, which is no entry", r.Name, number)
			}
			if slices.Contains(r.Entries[:i], number) {
				t.Errorf("the rule %s heals %s twice", r.Name, number)
			}
		}
	}
}

// A rule needs no line of the catalogue: what it says it heals is healed.
func TestTheStateOfAnEntryComesFromTheRules(t *testing.T) {
	whole, part := rewrite.Rule{Name: "whole", Entries: []string{"L01", "L02"}}, rewrite.Rule{Name: "part", Entries: []string{"L02"}}
	subjects := []heal.Subject{{Name: "one", Entries: []heal.Entry{
		{Number: "L01", How: "so"},
		{Number: "L02", How: "so", Left: "the rest", Remark: "by name"},
		{Number: "L03", Out: "nobody sees it"},
		{Number: "L04", How: "so", Remark: "it needs a clock"},
		{Number: "L05", Proxy: "always"},
		{Number: "L06", Proxy: "mostly", Out: "what nobody sees"},
		{Number: "L07", As: []string{"L01", "L05"}},
		{Number: "L08", As: []string{"L01", "L04"}},
		{Number: "L09", How: "so", Untold: "mcis-2"},
	}}}
	untold := "a rule can: auto does not look for the set `mcis-2`: " + heal.Untold()["mcis-2"]
	for _, c := range []struct {
		rules []rewrite.Rule
		want  []string
	}{
		{[]rewrite.Rule{whole, part}, []string{"healed: `whole`", "in part: `whole`, `part`; by name; a rule can heal: the rest",
			"stays out: nobody sees it", "a rule can: it needs a clock", "healed: always", "in part: mostly; stays out: what nobody sees",
			"healed: as L01, L05", "in part: as L01, L04", untold}},
		{nil, []string{"a rule can", "a rule can: by name; a rule can heal: the rest", "stays out: nobody sees it", "a rule can: it needs a clock",
			"healed: always", "in part: mostly; stays out: what nobody sees", "in part: as L01, L05", "a rule can: as L01, L04", untold}},
	} {
		cover := heal.Cover(subjects, c.rules)
		for i, e := range subjects[0].Entries {
			if got := cover.State(e); got != c.want[i] {
				t.Errorf("%s: %q, want %q", e.Number, got, c.want[i])
			}
		}
	}
	product := subjects[0].Entries[7]
	if got := heal.Cover(subjects, []rewrite.Rule{whole}).Rules(product); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("the rules of %s are %q", product.Number, got)
	}
}

// unseen are rules whose evidence has no text that an administrator could look for.
var unseen = map[string]string{
	"no-valid-recipients": "the mail is lost without a word",
	"bdat-blanks":         "no client that does so is known by name",
	"label-8bit":          "the reader sees wrong letters",
	"leading-dots":        "the message arrives cut off (KB Q140935)",
	"hide-esmtp":          "clients that fail on ESMTP do so in their own words",
	"refused-greeting":    "the client waits, or loses its connection",
	"one-auth-line":       "the client logs in by a weaker mechanism, or says that there is none",
	"offer-auth":          "the client says in its own words that there is no AUTH",
	"answer-noop":         "the message arrives damaged (KB Q197183)",
	"map-domains":         "each server says in its own words that it does not know the address",
	"chunking":            "the message hangs or arrives damaged (KB821733, KB973486)",
}

func TestEachRuleHasTheSymptomsThatAnAdministratorSees(t *testing.T) {
	known := map[string]bool{}
	for _, r := range heal.Table() {
		known[r.Name] = true
		why := unseen[r.Name]
		if len(r.Symptoms) == 0 && why == "" {
			t.Errorf("the rule %s has no symptoms: the texts of bounces, log lines or displays, as they are attested", r.Name)
		}
		if len(r.Symptoms) > 0 && why != "" {
			t.Errorf("the rule %s has symptoms, and is listed as one that has none: %s", r.Name, why)
		}
		for _, s := range r.Symptoms {
			if s == "" || s != strings.Join(strings.Fields(s), " ") || len(s) > 100 {
				t.Errorf("the rule %s has the symptom %q; want one line of at most 100 octets, with single blanks", r.Name, s)
			}
		}
	}
	for name := range unseen {
		if !known[name] {
			t.Errorf("there is no rule %s that has no symptoms", name)
		}
	}
}

// unplayed are rules that no transcript can show: it counts the octets of a message,
// and has lines that are none, or are too long, only in part.
var unplayed = []string{"lf-ends", "stray-bytes", "long-lines", "long-reply-lines"}

func TestEachRuleHasATranscriptOfItsName(t *testing.T) {
	for _, r := range heal.Table() {
		f, err := testdata.Of(r.Name)
		switch {
		case err != nil:
			t.Error(err)
		case slices.Contains(unplayed, r.Name):
			if f != nil {
				t.Errorf("the rule %s has a transcript, and is listed as one that has none", r.Name)
			}
		case f == nil:
			t.Errorf("the rule %s has no transcript rewrite/testdata/%s.txt, which shows best what it does", r.Name, r.Name)
		case slices.Contains(f.Rules, "-"+r.Name):
			t.Errorf("in %s.txt the rule is switched off", r.Name)
		}
	}
}

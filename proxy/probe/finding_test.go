package probe

import (
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

func TestAFindingGetsWhatTheCatalogueSays(t *testing.T) {
	f, err := Finding{Name: "second-ehlo", Entry: "L23", Rule: "second-ehlo"}.Catalogued()
	if err != nil || f.Source != "KB Q297269; jstedfast/MailKit#162" || f.Heals == "" {
		t.Errorf("got %+v, %v", f, err)
	}
	own := Finding{Name: "x", Entry: "L23", Heals: "so", Source: "it"}
	if f, err := own.Catalogued(); err != nil || f.Heals != "so" || f.Source != "it" {
		t.Errorf("what it says itself is replaced: %+v, %v", f, err)
	}
	hidden := Finding{Name: "x"}
	entries := 0
	for _, subject := range heal.Catalogue() { // of each that is healed, by whom, and not that it is
		for _, e := range subject.Entries {
			hidden.Entry = e.Number
			entries++
			if f, err := hidden.Catalogued(); err != nil || strings.HasPrefix(f.Heals, "healed") || f.Heals == "" {
				t.Errorf("%+v, %v", f, err)
			}
		}
	}
	if entries == 0 {
		t.Error("the catalogue is empty")
	}
	if _, err := (Finding{Name: "x", Entry: "L999"}).Catalogued(); err == nil {
		t.Error("there is an entry L999")
	}
	rules := heal.Table()
	if !slices.ContainsFunc(rules, func(r rewrite.Rule) bool { return r.Name == f.Rule }) {
		t.Errorf("there is no rule %s", f.Rule)
	}
}

func TestALineIsPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"220 mail.example.com": "S: 220 mail.example.com",
		"220 \x1b[2Jx\r":       `S: "220 \x1b[2Jx\r"`,
		"":                     `S: ""`,
	} {
		if got := Line('S', text); got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	}
	if got := Line(0, "TLS"); got != "~ TLS" {
		t.Errorf("an event is %q", got)
	}
}

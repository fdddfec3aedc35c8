package main

import (
	"strings"
	"testing"
)

func TestALiveCheckTellsTheProductAndWhatHasTold(t *testing.T) {
	old, modern := simulated(t, "iis-4", nil), simulated(t, "modern", nil)
	_, said := checkedLive(t, []string{old.Addr(), modern.Addr()}, `rules = ["auto"]`)
	wantInOrder(t, said, "server "+old.Addr(), "~ iis-4 by its greeting", "product iis-4, by its greeting: the SMTP service of IIS 4.0", "server "+modern.Addr())
	if strings.Count(said, "product ") != 1 {
		t.Errorf("a product is told of a server that shows none:\n%s", said)
	}
}

func TestRulesTellsHowAProductShows(t *testing.T) {
	for name, want := range map[string][]string{
		"sendmail-8.6": {"The product shows in:", "greeting", "Sendmail (?:", "HELP reply", "This is [Ss]endmail"},
		"exchange-5.0": {"client's command", "XAUTH"},
		"watchguard":   {`rules = ["auto"] does not look for it: its greeting, "220 SMTP service ready", may be anybody's`},
		"L118":         {"auto does not look for the set message-guard: no source has its greeting"},
		"auto":         {"Products, whose sets act in sessions that show them:", "exchange-5.0, exchange-5.5"},
	} {
		_, out, _ := call("rules", name)
		wantInOrder(t, strings.ReplaceAll(strings.Join(strings.Fields(out), " "), "`", ""), want...)
	}
}

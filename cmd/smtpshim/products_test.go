package main

import (
	"fmt"
	"os"
	"slices"
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

// Played with the names of all rules that are in force for some product, a recording
// would show what no session had.
func TestARecordingUnderAutoIsPlayedUnderAuto(t *testing.T) {
	configDir(t)
	if err := os.Mkdir("recorded", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "smtpshim.toml", fmt.Sprintf("[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [\"127.0.0.1:25\"]\nrules = [\"auto\", \"-last-words\"]\nrecord = {dir = \"recorded\"}\n", freeAddress(t)))
	rec := mustRead(t, "smtpshim.toml").routes[0].record
	if want := []string{"auto", "-last-words", "stray-bytes"}; !slices.Equal(rec.Rules, want) || rec.Settings["chunking"] != "" {
		t.Errorf("it is played with the rules %q and the settings %v", rec.Rules, rec.Settings)
	}
}

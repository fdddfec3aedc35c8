package listen

import (
	"net/netip"
	"testing"

	"github.com/BurntSushi/toml"

	"smtpshim/rewrite/heal"
)

// Each row by itself, and all at once: the rules of the route that is proposed take the
// options that it has for them.
func TestEveryRouteHasRulesWithOptionsThatTheyTake(t *testing.T) {
	all := allRows()
	tests := [][]row{all}
	for _, r := range all {
		tests = append(tests, []row{r})
	}
	for _, rows := range tests {
		c := Caller{Client: netip.MustParseAddr("2001:db8::1"), rows: rows}
		text := Route([]Caller{c}, ":25", "192.0.2.25:25")
		if text == "" {
			if r := rows[0]; r.rule != "" || r.setting == loginSetting {
				t.Errorf("there is no route for %s", r.name)
			}
			continue
		}
		var file struct {
			Route []struct {
				Name, LongLines string
				Listen, Servers []string
				Rules           []string
				LFEnds          []string `toml:"lf_ends"`
				Options         map[string]map[string]any
			}
		}
		if _, err := toml.Decode(text, &file); err != nil || len(file.Route) != 1 {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		route := file.Route[0]
		rules, errs := heal.Compile(route.Rules, route.Options)
		if errs != nil {
			t.Errorf("%v in\n%s", errs, text)
			continue
		}
		in := map[string]bool{}
		for _, name := range rules.Names() {
			in[name] = true
		}
		for _, r := range rows {
			if _, is := keyed[r.rule]; r.rule != "" && !is && !in[r.rule] {
				t.Errorf("%s is not in\n%s", r.rule, text)
			}
			if r.rule == lfEnd.rule && len(route.LFEnds) != 1 {
				t.Errorf("lf_ends is not in\n%s", text)
			}
		}
	}
}

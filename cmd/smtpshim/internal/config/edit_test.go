package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHealSetsTheRulesOfARouteWithOrWithoutTheKey(t *testing.T) {
	const route = "[[route]]\nname = \"in\"\n"
	for _, c := range []struct {
		text, want string
		rules      []string
	}{
		{route + "  mode = \"observe\" # for a week\r\nlisten = []\n", route + "  rules = [\"mend-505\"]\r\nlisten = []\n", []string{"mend-505"}},
		{route + "mode = \"observe\"\n", route + "rules = []\n", nil},
		{route + "mode = \"observe\"\n", route, standardRules},
		{route + "rules = [\"auto\"]\nmode = \"observe\"\n", route + "rules = [\"mend-505\"]\n", []string{"mend-505"}},
		{route + "rules = [\"auto\"]\nmode = \"observe\"\n", route + "rules = [\"auto\"]\n", []string{"auto"}},
	} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, c.text)
		files, err := OpenEdits(path)
		if err != nil {
			t.Fatal(err)
		}
		observed := files[0].Observed()
		if len(observed) != 1 {
			t.Fatalf("%d routes observe in\n%s", len(observed), c.text)
		}
		if err := files[0].Heal(observed[0], c.rules); err != nil || files[0].String() != c.want {
			t.Errorf("%q with %q: %v\n%q, want\n%q", c.text, c.rules, err, files[0].String(), c.want)
		}
		write(t, path, files[0].String())
		again, err := OpenEdits(path)
		if err != nil {
			t.Fatal(err)
		}
		r := again[0].root.tables("route")[0]
		if rules := r.texts("rules"); r.has("mode") || r.has("rules") && !slices.Equal(rules, c.rules) || !r.has("rules") && !slices.Equal(c.rules, standardRules) {
			t.Errorf("%q with %q: the rules are %q", c.text, c.rules, rules)
		}
	}
}

func TestADirectoryThatCannotBeReadIsNotTakenForAnEmptyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, "include = \"nosuch\"\n[[route]]\nname = \"in\"\n")
	if files, err := OpenEdits(path); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("%d files and %v", len(files), err)
	}
}

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite/heal"
)

// commentedKey is a key that is commented out; prose has a blank after the "#".
var commentedKey = regexp.MustCompile(`(?m)^#([a-z0-9_]+ *=)`)

func readExample(t *testing.T) (shipped, uncommented string) {
	t.Helper()
	text, err := os.ReadFile("../../../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text), commentedKey.ReplaceAllString(string(text), "$1")
}

// readSchema is Read of a text, with the schema that was asked for.
func readSchema(t *testing.T, text string) (*Config, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, text)
	root, err := openSource(path)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := readSettings(root, nil)
	if wrong := root.wrongs(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return c, root.keys
}

func TestTheExampleHasTheDefaults(t *testing.T) {
	shipped, uncommented := readExample(t)
	if shipped == uncommented {
		t.Fatal("no key is commented out")
	}
	minimal, _ := readSchema(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n")
	for what, text := range map[string]string{"as it is shipped": shipped, "with every key": uncommented} {
		got, _ := readSchema(t, text)
		if len(got.Routes) != 1 {
			t.Fatalf("%s: %d routes", what, len(got.Routes))
		}
		// Rules hold functions, which cannot be compared; their names can,
		// and their options are compared below.
		if !slices.Equal(got.Routes[0].Rules.Names(), minimal.Routes[0].Rules.Names()) {
			t.Errorf("%s: rules %q", what, got.Routes[0].Rules.Names())
		}
		route, want := *got.Routes[0].Route, *minimal.Routes[0].Route
		route.Rules, want.Rules = nil, nil
		if len(route.ProxyFrom) == 0 {
			route.ProxyFrom = nil
		}
		if !reflect.DeepEqual(route, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, route, want)
		}
		one, two := *got, *minimal
		one.Routes, two.Routes = nil, nil
		if !reflect.DeepEqual(one, two) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, one, two)
		}
	}
}

func TestTheExampleHasEveryKey(t *testing.T) {
	_, uncommented := readExample(t)
	_, keys := readSchema(t, uncommented)
	_, schema := readSchema(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n")
	if len(schema) < 30 {
		t.Fatalf("the schema has only %q", schema)
	}
	index := indexKeys(uncommented)
	for _, key := range schema {
		if rest, ok := strings.CutPrefix(key, "route."); ok {
			key = "route[0]." + rest
		}
		if _, ok := index[key]; !ok && key != "route[0].options" {
			t.Errorf("%s is not in the example", key)
		}
	}
	for _, key := range keys {
		if !slices.Contains(schema, key) && !strings.HasPrefix(key, "route.options.") {
			t.Errorf("%s is in the example and not in the schema", key)
		}
	}
}

func TestTheExampleHasEveryWeakness(t *testing.T) {
	shipped, _ := readExample(t)
	for _, w := range tlspolicy.AllWeaknesses().List() {
		if !strings.Contains(shipped, w.String()) {
			t.Errorf("%s is not in the example", w)
		}
	}
	_, schema := readSchema(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n"+
		"server_tls = {mode = \"require\", weak = [{allow = \"broken-rc4\"}]}\n")
	exampleHas(t, shipped, schema, 3, "route.server_tls.weak.")
}

// exampleHas wants every key that begins with one of the prefixes to be in the example,
// in a comment, and at least so many of them to be in the schema.
func exampleHas(t *testing.T, shipped string, schema []string, least int, prefixes ...string) {
	t.Helper()
	found := 0
	for _, key := range schema {
		for _, prefix := range prefixes {
			if name, ok := strings.CutPrefix(key, prefix); ok {
				if found++; !strings.Contains(shipped, "#   "+name+" = ") {
					t.Errorf("%s is not in the example", key)
				}
			}
		}
	}
	if found < least {
		t.Errorf("the schema has only %d keys that begin with %q", found, prefixes)
	}
}

func TestTheExampleHasEveryOptionAtItsDefault(t *testing.T) {
	_, uncommented := readExample(t)
	var file struct {
		Route []struct {
			Options map[string]map[string]any
		}
	}
	if _, err := toml.Decode(uncommented, &file); err != nil {
		t.Fatal(err)
	}
	options := file.Route[0].Options
	for _, rule := range heal.Table() {
		for _, o := range rule.Options {
			got, ok := options[rule.Name][o.Name]
			if table, isTable := got.(map[string]any); isTable && len(table) == 0 {
				got = map[string]string{}
			}
			if list, isList := got.([]any); isList {
				texts := []string{}
				for _, text := range list {
					texts = append(texts, fmt.Sprint(text))
				}
				got = texts
			}
			if !ok || !reflect.DeepEqual(got, o.Default) {
				t.Errorf("config.example.toml, [route.options.%s]: %s is %v; want it there, commented out, with its default %v", rule.Name, o.Name, got, o.Default)
			}
		}
	}
}

// Accounts and logins are shown with values that go together, and not at their defaults.
func TestTheExampleHasEveryKeyOfLogins(t *testing.T) {
	shipped, _ := readExample(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "made up")
	path := filepath.Join(dir, "smtpshim.toml")
	write(t, path, "[[account]]\nname = \"office\"\nuser = \"a@example.com\"\nmethod = \"password\"\npassword_file = \"secret\"\n"+
		"[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nserver_tls.mode = \"require\"\n"+
		"[[route.login]]\naccount = \"office\"\nnetworks = [\"192.0.2.0/24\"]\n")
	root, err := openSource(path)
	if err != nil {
		t.Fatal(err)
	}
	readSettings(root, nil)
	if wrong := root.wrongs(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	exampleHas(t, shipped, root.keys, 30, "account.", "route.login.")
}

// A replacement is shown with values that go together, and not at their defaults.
func TestTheExampleHasEveryKeyOfReplacements(t *testing.T) {
	shipped, _ := readExample(t)
	_, schema := readSchema(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n"+
		"[[route.replace]]\nname = \"noop\"\non = \"reply\"\nverbs = [\"NOOP\"]\nmatch = \"^220\"\ncode = 250\n")
	exampleHas(t, shipped, schema, 9, "route.replace.")
}

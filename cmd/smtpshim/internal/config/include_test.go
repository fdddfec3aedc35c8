package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

func TestIncludedFilesAddRoutesAndAccountsInTheOrderOfTheirNames(t *testing.T) {
	path := configtest.Including(t, configtest.Route("main", "127.0.0.1:2501")+"server_tls.mode = \"require\"\n[[route.login]]\naccount = \"b\"\nnetworks = [\"192.0.2.0/24\"]\n", map[string]string{
		"20-b.toml":      configtest.Route("b", "127.0.0.1:2503") + "[[account]]\nname = \"b\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \"b.password\"\n",
		"10-a.toml":      configtest.Route("a", "127.0.0.1:2502"),
		"b.password":     "made-up\n",
		"30-c.toml.bak":  "this is no TOML",
		".30-c.toml":     "nor is this",
		"40-empty.toml":  "# nothing yet\n",
		"50-routes.text": configtest.Route("c", "127.0.0.1:2504"),
	})
	c := mustRead(t, path)
	var names []string
	for _, r := range c.Routes {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "main a b" || len(c.Accounts) != 1 || len(c.Included) != 3 {
		t.Errorf("routes %s, %d accounts, files %q", got, len(c.Accounts), c.Included)
	}
}

func TestAMistakeInAnIncludedFileIsNamedWithFileAndLine(t *testing.T) {
	path := configtest.Including(t, configtest.Route("a", "127.0.0.1:2501"), map[string]string{
		"a.toml": "drain = \"5s\"\n" + configtest.Route("a", "127.0.0.1:2501") + "mode = \"heel\"\n",
		"b.toml": "[[route]\n",
		"c.toml": configtest.Route("c", "127.0.0.1:2503") + "colour = 1\n",
	})
	dir := filepath.Dir(path)
	_, err := Read(path, tlspolicy.SelfSigned)
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{
		dir + "/conf.d/a.toml:1: drain: does not belong here: a file that is included has [[route]] and [[account]] alone, and " + path + " the rest",
		dir + "/conf.d/a.toml:3: route.name: \"a\" is also the name of the route on line 2 of " + path,
		dir + "/conf.d/a.toml:4: route.listen: \"127.0.0.1:2501\" is taken by route \"a\", line 2 of " + path,
		dir + "/conf.d/a.toml:6: route.mode: \"heel\" is not one of \"heal\" or \"observe\"; did you mean \"heal\"?",
		dir + "/conf.d/b.toml:1: not TOML: [[route] has brackets that do not match; write [[route]]",
		dir + "/conf.d/c.toml:5: route.colour: unknown key",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestADirectoryThatCannotBeIncludedIsNamed(t *testing.T) {
	for name, want := range map[string]string{
		"conf.e":        "make it, or leave the key out",
		"smtpshim.toml": "the name of a directory is wanted",
	} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, fmt.Sprintf("include = %q\n", name)+configtest.Route("a", "127.0.0.1:2501"))
		if _, err := Read(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), path+":1: include: reading the directory ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADirectoryWithoutRoutesIsNamed(t *testing.T) {
	path := configtest.Including(t, "", map[string]string{"10-a.toml": "# nothing yet\n"})
	_, err := Read(path, tlspolicy.SelfSigned)
	want := path + ": there is no route: neither this file nor a *.toml in conf.d has one; write [[route]] and below it name, listen and servers"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	write(t, filepath.Join(filepath.Dir(path), "conf.d", "10-a.toml"), "[[route]\n")
	if _, err := Read(path, tlspolicy.SelfSigned); err == nil || strings.Contains(err.Error(), "there is no route") {
		t.Errorf("a file that is no TOML may have one: %v", err)
	}
}

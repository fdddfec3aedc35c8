package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/evidence"
	"smtpshim/proxy/tlspolicy"
)

// included writes files of a directory conf.d, and one that includes them, and returns
// the path of that.
func included(t *testing.T, main string, parts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range parts {
		write(t, filepath.Join(dir, "conf.d", name), text)
	}
	path := filepath.Join(dir, "smtpshim.toml")
	write(t, path, "include = \"conf.d\"\n"+main)
	return path
}

func routeText(name, listen string) string {
	return fmt.Sprintf("[[route]]\nname = %q\nlisten = [%q]\nservers = [\"192.0.2.1:25\"]\n", name, listen)
}

func TestIncludedFilesAddRoutesAndAccountsInTheOrderOfTheirNames(t *testing.T) {
	path := included(t, routeText("main", "127.0.0.1:2501")+"server_tls.mode = \"require\"\n[[route.login]]\naccount = \"b\"\nnetworks = [\"192.0.2.0/24\"]\n", map[string]string{
		"20-b.toml":      routeText("b", "127.0.0.1:2503") + "[[account]]\nname = \"b\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \"b.password\"\n",
		"10-a.toml":      routeText("a", "127.0.0.1:2502"),
		"b.password":     "made-up\n",
		"30-c.toml.bak":  "this is no TOML",
		".30-c.toml":     "nor is this",
		"40-empty.toml":  "# nothing yet\n",
		"50-routes.text": routeText("c", "127.0.0.1:2504"),
	})
	c := mustRead(t, path)
	var names []string
	for _, r := range c.routes {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "main a b" || len(c.accounts) != 1 || len(c.included) != 3 {
		t.Errorf("routes %s, %d accounts, files %q", got, len(c.accounts), c.included)
	}
	_, out, _ := call("check", "-config", path)
	if want := path + ", with 3 files of " + filepath.Join(filepath.Dir(path), "conf.d") + ", is right: 3 routes, "; !strings.Contains(out, want) {
		t.Errorf("check does not say %q:\n%s", want, out)
	}
}

func TestAMistakeInAnIncludedFileIsNamedWithFileAndLine(t *testing.T) {
	path := included(t, routeText("a", "127.0.0.1:2501"), map[string]string{
		"a.toml": "drain = \"5s\"\n" + routeText("a", "127.0.0.1:2501") + "mode = \"heel\"\n",
		"b.toml": "[[route]\n",
		"c.toml": routeText("c", "127.0.0.1:2503") + "colour = 1\n",
	})
	dir := filepath.Dir(path)
	_, err := readConfig(path, tlspolicy.SelfSigned)
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
		write(t, path, fmt.Sprintf("include = %q\n", name)+routeText("a", "127.0.0.1:2501"))
		if _, err := readConfig(path, tlspolicy.SelfSigned); err == nil || !strings.Contains(err.Error(), path+":1: include: reading the directory ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAReloadFollowsTheDirectory(t *testing.T) {
	first, second := freeAddress(t), freeAddress(t)
	r := &running{t: t, admin: freeAddress(t)}
	r.path = included(t, fmt.Sprintf("admin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\n", r.admin, first, mailServer(t)), nil)
	r.serve()
	added := filepath.Join(filepath.Dir(r.path), "conf.d", "more.toml")
	write(t, added, fmt.Sprintf("[[route]]\nname = \"more\"\nlisten = [%q]\nservers = [%q]\n", second, mailServer(t)))
	r.reloaded()
	connect(t, second)("QUIT", "250")

	write(t, added, "[[route]\n")
	r.signals <- syscall.SIGHUP
	r.logged("file=" + added + " line=1")
	if _, page := r.get("/readyz"); !strings.Contains(page, "more.toml:1") {
		t.Errorf("/readyz does not name the file: %s", page)
	}
	connect(t, second)("QUIT", "250")

	if err := os.Remove(added); err != nil {
		t.Fatal(err)
	}
	r.reloaded()
	if conn, err := net.Dial("tcp", second); err == nil {
		conn.Close()
		t.Error("the route of a file that is gone is still served")
	}
}

func TestObserveChangesTheFilesThatItIsAbout(t *testing.T) {
	path := included(t, routeText("main", "127.0.0.1:2501")+"mode = \"observe\"\n", map[string]string{
		"a.toml": routeText("a", "127.0.0.1:2502") + "mode = \"observe\"\n",
	})
	part := filepath.Join(filepath.Dir(path), "conf.d", "a.toml")
	acted := []evidence.Rule{{Name: "join-data-reply", Times: 1, Sessions: 1, Clients: 1}}
	p, err := propose(path, []evidence.Route{{Name: "a", Since: time.Now(), Rules: acted}})
	if err != nil || p.File != part || !strings.Contains(p.Diff, "\n-mode = \"observe\"\n") || strings.Contains(p.Diff, "--- "+path) {
		t.Errorf("%v, %s\n%s", err, p.File, p.Diff)
	}
	p, err = propose(path, []evidence.Route{{Name: "a", Since: time.Now(), Rules: acted}, {Name: "main", Since: time.Now(), Rules: acted}})
	var out strings.Builder
	p.print(&out)
	if err != nil || !strings.Contains(p.Diff, "--- "+path) || !strings.Contains(p.Diff, "--- "+part) || !strings.Contains(out.String(), "| patch -d / -p1, and") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestADirectoryWithoutRoutesIsNamed(t *testing.T) {
	path := included(t, "", map[string]string{"10-a.toml": "# nothing yet\n"})
	_, err := readConfig(path, tlspolicy.SelfSigned)
	want := path + ": there is no route: neither this file nor a *.toml in conf.d has one; write [[route]] and below it name, listen and servers"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	write(t, filepath.Join(filepath.Dir(path), "conf.d", "10-a.toml"), "[[route]\n")
	if _, err := readConfig(path, tlspolicy.SelfSigned); err == nil || strings.Contains(err.Error(), "there is no route") {
		t.Errorf("a file that is no TOML may have one: %v", err)
	}
}

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

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/evidence"
)

func TestCheckCountsTheFilesThatAreIncluded(t *testing.T) {
	path := configtest.Including(t, configtest.Route("main", "127.0.0.1:2501"), map[string]string{"10-a.toml": configtest.Route("a", "127.0.0.1:2502"), "20-empty.toml": "# nothing yet\n"})
	_, out, _ := call("check", "-config", path)
	if want := path + ", with 2 files of " + filepath.Join(filepath.Dir(path), "conf.d") + ", is right: 2 routes, "; !strings.Contains(out, want) {
		t.Errorf("check does not say %q:\n%s", want, out)
	}
}

func TestAReloadFollowsTheDirectory(t *testing.T) {
	first, second := freeAddress(t), freeAddress(t)
	r := &running{t: t, admin: freeAddress(t)}
	r.path = configtest.Including(t, fmt.Sprintf("admin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\n", r.admin, first, mailServer(t)), nil)
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
	path := configtest.Including(t, configtest.Route("main", "127.0.0.1:2501")+"mode = \"observe\"\n", map[string]string{
		"a.toml": configtest.Route("a", "127.0.0.1:2502") + "mode = \"observe\"\n",
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

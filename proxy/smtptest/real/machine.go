package real

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// OwnMachine puts the calling test on a machine of its own, as far as network and
// mounts go: what it, or a program that it starts, listens at, dials or mounts is
// nobody else's, and ends with it. The machine has loopback and, on it, the
// addresses of names, a table as /etc/hosts is, which takes the place of that file.
//
// This holds for the goroutine of the test and for programs; what runs in another
// goroutine, such as the connections of an http.Client, is where it was.
func OwnMachine(t testing.TB, names string) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "only root can make namespaces")
	}
	hosts := filepath.Join(Dir(t), "hosts") // before the namespace, so that it is removed outside of it
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n::1 localhost\n"+names), 0o644); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // for good: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		Missing(t, fmt.Sprintf("namespaces: %v", err))
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	Bind(t, hosts, "/etc/hosts")
	ip := Bin(t, "iproute2", "ip")
	steps := []string{"link set lo up"}
	for line := range strings.Lines(names) {
		if address := strings.Fields(line)[0]; !strings.HasPrefix(address, "127.") {
			steps = append(steps, "addr add "+address+" dev lo nodad")
		}
	}
	for _, step := range steps {
		if out, status := run(t, nil, "", ip, strings.Fields(step)...); status != 0 {
			t.Fatalf("ip %s: %s", step, out)
		}
	}
}

// Bind has a file or a folder appear at another place of the test's own machine.
func Bind(t testing.TB, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("%s at %s: %v", from, to, err)
	}
}

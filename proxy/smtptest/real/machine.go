//go:build linux

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

// OwnFiles moves the goroutine of the test to a new mount namespace, for the rest of
// the test. The programs that the goroutine starts are in the namespace too. Other
// goroutines and programs do not see what is mounted there. OwnFiles calls Missing if
// it cannot make a namespace, for example because the user is not root.
func OwnFiles(t testing.TB) {
	t.Helper()
	apart(t, unix.CLONE_NEWNS)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// apart moves the goroutine of the test to a new namespace.
func apart(t testing.TB, kind int) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "only root can make namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	if err := unix.Unshare(kind); err != nil {
		Missing(t, fmt.Sprintf("namespaces: %v", err))
	}
}

// OwnMachine calls OwnFiles, and then moves the goroutine of the test to a new network
// namespace. names is text for /etc/hosts: in the namespaces, that file has the lines
// of localhost, and then names. The network has only a loopback interface, with the
// addresses in names. Other goroutines, such as that in which an http.Client connects,
// stay in the network of the machine.
func OwnMachine(t testing.TB, names string) {
	t.Helper()
	hosts := filepath.Join(Dir(t), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n::1 localhost\n"+names), 0o644); err != nil {
		t.Fatal(err)
	}
	OwnFiles(t)
	apart(t, unix.CLONE_NEWNET)
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

// Bind mounts from, which is a file or a folder, at the path to (a bind mount). Call
// OwnFiles or OwnMachine before: otherwise the whole machine sees the mount.
func Bind(t testing.TB, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("%s at %s: %v", from, to, err)
	}
}

// startApart is Start for a program that sees files of dir at other places, given by the
// files' names. No other program sees them there.
func startApart(t testing.TB, dir string, places map[string]string, program string, args ...string) {
	t.Helper()
	script := "set -e\n"
	for name, place := range places {
		script += fmt.Sprintf("mount --bind %s/%s %s\n", dir, name, place)
	}
	Start(t, nil, Bin(t, "util-linux", "unshare"), append([]string{"--mount", "sh", "-c", script + `exec "$0" "$@"`, program}, args...)...)
}

// Package verify reads what deploy/ has for other people's programs as those
// programs read it, and runs what of it can be run without them. It is a module of
// its own, so that smtpshim does not depend on any of theirs. As root:
//
//	go test ./...
package verify

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest/real"
)

// onOwnFiles has what the test mounts seen by nobody else.
func onOwnFiles(t *testing.T) {
	t.Helper()
	real.Bin(t, "coreutils", "sh")
	runtime.LockOSThread() // for good: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		real.Missing(t, fmt.Sprintf("mounts of its own: %v", err))
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// say says lines to a mail server all at once, and gives all that it answers.
func say(t *testing.T, address string, lines ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(conn, strings.Join(lines, "\r\n")+"\r\n")
	heard, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", heard, err)
	}
	return string(heard)
}

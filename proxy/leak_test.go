package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain also sees to it that no test leaves a session or a connection behind.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // as the program does, so that there is more than one loop
	status := m.Run()
	if status == 0 {
		if left := leftOver(); left != "" {
			fmt.Fprintf(os.Stderr, "left behind:\n%s\n", left)
			status = 1
		}
	}
	os.Exit(status)
}

// leftOver are the proxy's goroutines that do not end.
func leftOver() string {
	for late := time.Now().Add(patience); sessions() > 0; runtime.Gosched() {
		if time.Now().After(late) {
			return strings.Join(ofTheProxy(), "\n\n")
		}
	}
	return ""
}

// sessions is how many goroutines the proxy has.
func sessions() int { return len(ofTheProxy()) }

// ofTheProxy are the stacks that have a method of the proxy's, or of package wire's, in
// them.
func ofTheProxy() []string {
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "smtpshim/proxy.(") || strings.Contains(stack, "smtpshim/proxy/wire.(") {
			found = append(found, stack)
		}
	}
	return found
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count descriptors in: ", err)
	}
	return len(open)
}

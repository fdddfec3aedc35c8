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
	"strings"
	"testing"
	"time"
)

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

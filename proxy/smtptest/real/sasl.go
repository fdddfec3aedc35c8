//go:build linux

package real

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
)

// passwords answers Postfix's smtpd as a Dovecot authentication server does
// (Dovecot Authentication Protocol, version 1.1), for PLAIN only, and returns
// its address. So Postfix can offer AUTH without another daemon.
func passwords(t testing.TB, users map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go judge(conn, users)
		}
	}()
	return l.Addr().String()
}

// judge answers the requests of one connection.
func judge(conn net.Conn, users map[string]string) {
	defer conn.Close()
	fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef\nDONE\n")
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		field := strings.Split(lines.Text(), "\t")
		if len(field) < 2 || field[0] != "AUTH" {
			continue
		}
		_, response, _ := strings.Cut(lines.Text(), "\tresp=")
		blob, _ := base64.StdEncoding.DecodeString(response)
		said := strings.Split(string(blob), "\x00") // authorization, name, password: RFC 4616
		if len(said) == 3 && said[2] != "" && said[2] == users[said[1]] {
			fmt.Fprintf(conn, "OK\t%s\tuser=%s\n", field[1], said[1])
		} else {
			fmt.Fprintf(conn, "FAIL\t%s\n", field[1])
		}
	}
}

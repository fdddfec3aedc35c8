//go:build linux

package real

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// passwords serves Postfix's smtpd like a Dovecot authentication server (Dovecot
// Authentication Protocol, version 1.1), for PLAIN only, and returns its address. With
// it, Postfix can offer AUTH without another daemon.
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

// judge answers the requests on one connection.
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
		said := strings.Split(string(blob), "\x00") // authorization identity, name, password: RFC 4616
		if len(said) == 3 && said[2] != "" && said[2] == users[said[1]] {
			fmt.Fprintf(conn, "OK\t%s\tuser=%s\n", field[1], said[1])
		} else {
			fmt.Fprintf(conn, "FAIL\t%s\n", field[1])
		}
	}
}

// cyrusSASL creates the configuration of a Cyrus SASL with these mechanisms and its own
// database of users. It is in the folder sasl beside main.cf, where Debian's Postfix
// looks for it, whatever cyrus_sasl_config_path says.
func cyrusSASL(t testing.TB, etc string, users map[string]string, mechanisms []string) {
	t.Helper()
	mkdirs(t, etc, postfixUID, 0o755, "sasl")
	folder := filepath.Join(etc, "sasl")
	database := filepath.Join(folder, "sasldb2")
	write(t, folder, map[string]string{"smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + database +
		"\nmech_list: " + strings.Join(mechanisms, " ") + "\n"})
	for name, password := range users {
		Python(t, cyrusUser, database, name, password)
	}
}

// cyrusUser is a script that adds a user of example.com to a database of Cyrus SASL.
const cyrusUser = `
import ctypes as c, os, sys

database, user, password = (text.encode() for text in sys.argv[1:])
sasl = c.CDLL("libsasl2.so.2")
options = {b"auxprop_plugin": b"sasldb", b"sasldb_path": database, b"pwcheck_method": b"auxprop"}


@c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_char_p, c.POINTER(c.c_char_p), c.POINTER(c.c_uint))
def getopt(context, plugin, option, result, size):
    if option not in options:
        return -1
    result[0] = options[option]
    if size:
        size[0] = len(options[option])
    return 0


class Callback(c.Structure):
    _fields_ = [("id", c.c_ulong), ("proc", c.c_void_p), ("context", c.c_void_p)]


def check(what, code):
    if code != 0:
        sys.exit("%s: %d" % (what, code))


GETOPT, LIST_END, CREATE = 1, 0, 1
callbacks = (Callback * 2)(Callback(GETOPT, c.cast(getopt, c.c_void_p), None), Callback(LIST_END, None, None))
conn = c.c_void_p()
check("init", sasl.sasl_server_init(callbacks, b"smtpd"))
check("new", sasl.sasl_server_new(b"smtp", b"postfix.example.com", b"example.com", None, None, callbacks, 0, c.byref(conn)))
check("setpass", sasl.sasl_setpass(conn, user, password, len(password), None, 0, CREATE))
os.chmod(database, 0o644)
`

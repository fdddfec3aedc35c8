package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/tlspolicy"
)

// SocketPath returns the path of the Unix socket in address, such as /run/smtpshim.sock
// for unix:/run/smtpshim.sock. ok is false if address does not begin with "unix:".
func SocketPath(address string) (path string, ok bool) { return strings.CutPrefix(address, fileSystem) }

// longestPath is the length of the longest path in the address of a socket (unix(7)).
const longestPath = 107

// checkSocket returns what is wrong with the path of a socket.
func checkSocket(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf(`"unix:%s" has no absolute path; write for example "unix:/run/smtpshim/in.sock"`, path)
	}
	if len(path) > longestPath {
		return fmt.Errorf(`"unix:%s" is too long: a socket's path has at most %d octets, and this one %d`, path, longestPath, len(path))
	}
	return nil
}

// A socketMode says who may connect to a Unix socket.
type socketMode fs.FileMode

// UnmarshalText sets m to the permissions in text, which has octal digits as for chmod.
func (m *socketMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return fmt.Errorf(`%q are no permissions; write for example "0660", for the owner and the group`, text)
	}
	*m = socketMode(n)
	return nil
}

// readServers reads how servers are chosen and checked, and who may connect to our Unix
// sockets.
func readServers(t *table, r *proxy.Route) {
	t.word("balance", &r.Balance)
	mode := socketMode(proxy.DefaultListenMode)
	t.word("listen_mode", &mode)
	r.ListenMode = fs.FileMode(mode)
	r.Health = readHealth(t.table("health"))
}

// readHealth reads [route.health].
func readHealth(t *table) proxy.Health {
	defer t.done()
	h := proxy.Health{
		Interval: t.duration("interval", 0, 0, 24*time.Hour),
		Timeout:  t.duration("timeout", proxy.DefaultHealthTimeout, time.Second, time.Hour),
	}
	if h.Interval > 0 && h.Interval < time.Second {
		t.wrong("interval", `%v is too often; "1s" is the shortest, and "0s" is none`, h.Interval)
	}
	return h
}

// checkServerNames reports servers without a name whose certificate must have one.
func checkServerNames(t *table, r *Route) {
	if r.Server == nil || r.Server.Verification != tlspolicy.Verified || r.Server.ServerName != "" || len(r.Server.Pins) > 0 {
		return
	}
	for _, server := range r.Servers {
		if _, ok := SocketPath(server); ok {
			t.wrong("servers", "%q has no name for its certificate; write server_name, or pins, in [route.server_tls]", server)
		}
	}
}

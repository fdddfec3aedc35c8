//go:build linux

package real

import (
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// eximUser is compiled into Debian's Exim, which does not start without it.
const eximUser = "Debian-exim"

// Exim starts an Exim that offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and
// CHUNKING, takes mail for every address from anybody on loopback, and stores or
// relays it. Its client uses BDAT where that is offered, and TLS where it can.
func Exim(t testing.TB, o Options) *Server {
	t.Helper()
	exim := Bin(t, "exim", "exim4")
	needRoot(t, "exim")
	account, err := user.Lookup(eximUser)
	if err != nil {
		Missing(t, "exim needs the user "+eximUser)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: FreeAddr(), dir: Dir(t)}
	s.mail = filepath.Join(s.dir, "mail/new")
	config := filepath.Join(s.dir, "exim.conf")
	s.sendmail = []string{exim, "-C", config, "-oi"}
	mkdirs(t, s.dir, uid, 0o755, "mail", "mail/new", "mail/cur", "mail/tmp", "spool", "log")
	write(t, s.dir, map[string]string{"exim.conf": s.eximConf(t, exim, o)})
	Start(t, s.env, exim, "-C", config, "-bdf", "-q1h")
	Listening(t, s.Addr)
	printIfFailed(t, filepath.Join(s.dir, "log/mainlog"), filepath.Join(s.dir, "log/paniclog"))
	return s
}

// eximConf is what Exim is to do. It never becomes root again: the unpacked
// program has no set-user-id bit.
func (s *Server) eximConf(t testing.TB, exim string, o Options) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	main := []string{
		"exim_path = " + exim,
		"exim_user = " + eximUser,
		"deliver_drop_privilege",
		"primary_hostname = exim.example.com",
		"qualify_domain = example.com",
		"local_interfaces = " + host,
		"daemon_smtp_ports = " + port,
		"disable_ipv6",
		"spool_directory = " + s.dir + "/spool",
		"log_file_path = " + s.dir + "/log/%slog",
		"pid_file_path = " + s.dir + "/spool/pid",
		"keep_environment =",
		"message_size_limit = 256M",
		"acl_smtp_rcpt = accept",
		"host_lookup =",
		"smtp_accept_max = 0",
		"smtp_accept_queue_per_connection = 0",
		"dsn_advertise_hosts = *",
		"smtputf8_advertise_hosts = *",
	}
	if o.CA != nil {
		certificate, key := o.certificate(t, host)
		main = append(main, "tls_advertise_hosts = *", "tls_certificate = "+certificate, "tls_privatekey = "+key)
	} else {
		main = append(main, "tls_advertise_hosts =")
	}
	main = append(main, o.Settings...)

	rest := fmt.Sprintf(eximStores, s.dir)
	if o.Relay != "" {
		to, port, _ := net.SplitHostPort(o.Relay)
		rest = fmt.Sprintf(eximRelays, to, port)
		switch o.RelayTLS {
		case "encrypt":
			rest += "  hosts_require_tls = *\n"
		case "verify":
			rest += "  hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_certificates = " + o.CA.File + "\n"
		}
	}
	if o.Users != nil {
		var list strings.Builder
		for name, password := range o.Users {
			fmt.Fprintf(&list, "%s=%s ", name, password)
		}
		rest += fmt.Sprintf(eximNTLM, list.String())
	}
	return strings.Join(main, "\n") + "\n" + rest
}

const eximStores = `
begin routers
all:
  driver = accept
  transport = store
begin transports
store:
  driver = appendfile
  maildir_format
  directory = %s/mail
`

const eximRelays = `
begin routers
all:
  driver = manualroute
  route_list = * %s byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  port = %s
  allow_localhost
`

const eximNTLM = `
begin authenticators
ntlm:
  driver = spa
  public_name = NTLM
  server_password = ${extract{$auth1}{%s}{$value}fail}
  server_set_id = $auth1
`

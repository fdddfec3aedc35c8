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

// eximUser is compiled into Debian's Exim, which does not start if the user is missing.
const eximUser = "Debian-exim"

// Exim starts an Exim with the options o, and returns when the Exim accepts
// connections. The Exim offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and CHUNKING.
// It accepts mail for every address, and stores the mail or sends it to o.Relay. When
// it sends, it uses BDAT if that is offered, and TLS if possible.
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

// eximConf returns the configuration of Exim. Exim must not become root again, since the
// unpacked program has no set-user-id bit.
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
		"acl_smtp_rcpt = " + o.eximTakes(),
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
		if o.Login != "" {
			rest += "  hosts_require_auth = *\n"
		}
	}
	return strings.Join(main, "\n") + "\n" + rest + o.eximAuthenticators()
}

// eximTakes returns what Exim does with a recipient.
func (o Options) eximTakes() string {
	if o.Mechanisms != nil && o.Relay == "" {
		return "${if def:sender_host_authenticated {accept}{deny}}"
	}
	return "accept"
}

// eximAuthenticators returns how Exim's clients log in, or how it logs in when it relays.
func (o Options) eximAuthenticators() string {
	mechanisms := o.Mechanisms
	if mechanisms == nil && o.Users != nil {
		mechanisms = []string{"NTLM"}
	}
	if len(mechanisms) == 0 {
		return ""
	}
	var list, text strings.Builder
	for name, password := range o.Users {
		fmt.Fprintf(&list, "%s=%s ", name, password)
	}
	name, password, _ := strings.Cut(o.Login, ":")
	fill := strings.NewReplacer("@NAME@", name, "@PASSWORD@", password, "@USERS@", list.String())
	fmt.Fprintln(&text, "begin authenticators")
	for _, m := range mechanisms {
		fmt.Fprintf(&text, "%s:\n  public_name = %s\n%s", strings.ReplaceAll(m, "-", "_"), m, eximAuthenticators[m].common)
		if o.Login != "" {
			fill.WriteString(&text, eximAuthenticators[m].client)
		} else {
			fill.WriteString(&text, eximAuthenticators[m].server)
		}
	}
	return text.String()
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

// eximAuthenticators are the authenticators of Exim, by mechanism.
var eximAuthenticators = map[string]struct{ common, server, client string }{
	"NTLM": {
		"  driver = spa\n",
		"  server_password = ${extract{$auth1}{@USERS@}{$value}fail}\n  server_set_id = $auth1\n",
		"  client_username = @NAME@\n  client_password = @PASSWORD@\n",
	},
	"EXTERNAL": { // by the TLS certificate, if its authority is in tls_verify_certificates
		"  driver = external\n",
		"  server_param2 = ${certextract{subject,CN}{$tls_in_peercert}}\n" +
			"  server_condition = ${if eq{$tls_in_certificate_verified}{1}}\n  server_set_id = $auth1\n",
		"",
	},
	"CRAM-MD5": {
		"  driver = cram_md5\n",
		"  server_secret = ${extract{$auth1}{@USERS@}{$value}fail}\n  server_set_id = $auth1\n",
		"  client_name = @NAME@\n  client_secret = @PASSWORD@\n",
	},
	"PLAIN": {
		"  driver = plaintext\n",
		"  server_prompts = :\n  server_condition = ${if eq{$auth3}{${extract{$auth2}{@USERS@}{$value}fail}}}\n  server_set_id = $auth2\n",
		"  client_send = ^@NAME@^@PASSWORD@\n",
	},
	"LOGIN": {
		"  driver = plaintext\n",
		"  server_prompts = Username:: : Password::\n  server_condition = ${if eq{$auth2}{${extract{$auth1}{@USERS@}{$value}fail}}}\n  server_set_id = $auth1\n",
		"  client_send = : @NAME@ : @PASSWORD@\n",
	},
}

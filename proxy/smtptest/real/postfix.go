//go:build linux

package real

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Postfix runs as users that every Debian system has, so that none need be created. They
// must be three different users, and not root.
const (
	postfixOwner = "mail"
	postfixUID   = 8 // mail's
	postfixGroup = "uucp"
)

// Postfix starts a Postfix with the options o, and returns when the Postfix accepts
// connections. The Postfix offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and
// CHUNKING. It accepts messages of up to 256 MiB from loopback. It stores mail for
// every address of example.com, or sends all mail to o.Relay.
func Postfix(t testing.TB, o Options) *Server {
	t.Helper()
	master := Bin(t, "postfix", "master")
	needRoot(t, "postfix")
	root := folder("postfix")
	s := &Server{Addr: cmp.Or(o.Listen, FreeAddr()), dir: Dir(t)}
	s.mail = filepath.Join(s.dir, "mail/new")
	s.env = postfixEnv()
	s.sendmail = []string{Bin(t, "postfix", "sendmail"), "-C", filepath.Join(s.dir, "etc")}

	mkdirs(t, s.dir, 0, 0o755, "etc", "queue", "queue/pid")
	mkdirs(t, s.dir, postfixUID, 0o755, "data", "mail", "mail/new", "mail/cur", "mail/tmp")
	for _, name := range strings.Fields("incoming active deferred bounce defer flush saved trace corrupt hold private") {
		mkdirs(t, s.dir, postfixUID, 0o700, "queue/"+name)
	}
	mkdirs(t, s.dir, postfixUID, 0o777, "queue/maildrop", "queue/public")
	write(t, s.dir, map[string]string{
		"etc/main.cf":   strings.Join(append(s.mainCF(t, root, o), o.Settings...), "\n") + "\n",
		"etc/master.cf": strings.NewReplacer("@ADDR@", strings.TrimPrefix(s.Addr, ":"), "@SMTP@", o.smtpServices()).Replace(masterCF),
	})
	s.log = postlog(t, filepath.Join(s.dir, "queue/public/postlog"))
	Start(t, s.env, master, "-s", "-c", filepath.Join(s.dir, "etc"))
	Listening(t, s.Addr)
	return s
}

// postfixEnv returns the environment in which an unpacked Postfix finds its libraries.
func postfixEnv() []string {
	return []string{"LD_LIBRARY_PATH=" + filepath.Join(folder("postfix"), "usr/lib/postfix")}
}

// mainCF returns the lines of Postfix's main.cf.
func (s *Server) mainCF(t testing.TB, root string, o Options) []string {
	t.Helper()
	lines := []string{
		"compatibility_level = 3.6",
		"maillog_file_prefixes = /",
		"maillog_file = /dev/null", // postlog does that
		"config_directory = " + s.dir + "/etc",
		"queue_directory = " + s.dir + "/queue",
		"data_directory = " + s.dir + "/data",
		"daemon_directory = " + filepath.Join(root, "usr/lib/postfix/sbin"),
		"command_directory = " + filepath.Join(root, "usr/sbin"),
		"shlib_directory = " + filepath.Join(root, "usr/lib/postfix"),
		"meta_directory = " + filepath.Join(root, "etc/postfix"),
		"import_environment = MAIL_CONFIG MAIL_LOGTAG LD_LIBRARY_PATH LANG=C",
		"export_environment = MAIL_CONFIG MAIL_LOGTAG LD_LIBRARY_PATH LANG=C",
		"mail_owner = " + postfixOwner,
		"setgid_group = " + postfixGroup,
		"myhostname = postfix.example.com",
		"mydestination =",
		"mynetworks = 127.0.0.0/8",
		"inet_protocols = ipv4",
		"alias_maps =",
		"local_recipient_maps =",
		"message_size_limit = 268435456",
		"smtpd_client_event_limit_exceptions = static:all",
		"smtpd_recipient_restrictions = " + o.smtpdTakes(),
		"smtpd_discard_ehlo_keywords =",
		"smtputf8_enable = yes",
		"disable_dns_lookups = yes",
	}
	if o.Relay != "" {
		lines = append(lines, s.relay(o)...)
	} else {
		lines = append(lines,
			"virtual_mailbox_domains = example.com",
			"virtual_mailbox_base = "+s.dir,
			"virtual_mailbox_maps = static:mail/",
			"virtual_mailbox_limit = 0",
			"virtual_minimum_uid = 1",
			fmt.Sprintf("virtual_uid_maps = static:%d", postfixUID),
			fmt.Sprintf("virtual_gid_maps = static:%d", postfixUID))
	}
	if o.CA != nil {
		host, _, _ := net.SplitHostPort(s.Addr)
		certificate, key := o.certificate(t, host)
		lines = append(lines,
			"smtpd_tls_security_level = may",
			"smtpd_tls_chain_files = "+key+", "+certificate)
	}
	return append(lines, o.smtpdSASL(t, filepath.Join(s.dir, "etc"))...)
}

// smtpdTakes returns whose mail Postfix accepts.
func (o Options) smtpdTakes() string {
	if o.TokenKey != "" || o.Mechanisms != nil && o.Relay == "" {
		return "permit_sasl_authenticated, reject"
	}
	return "permit_mynetworks, reject"
}

// smtpdSASL returns the settings of a Postfix whose clients may log in.
func (o Options) smtpdSASL(t testing.TB, etc string) []string {
	t.Helper()
	common := []string{
		"smtpd_sasl_auth_enable = yes",
		"smtpd_sasl_authenticated_header = yes",
	}
	switch {
	case o.TokenKey != "":
		return append(common, "smtpd_sasl_type = dovecot", "smtpd_sasl_path = inet:"+dovecotTokens(t, o.TokenKey))
	case o.Mechanisms != nil && o.Relay == "":
		cyrusSASL(t, etc, o.Users, o.Mechanisms)
		return append(common, "smtpd_sasl_type = cyrus", "smtpd_sasl_path = smtpd", "smtpd_sasl_local_domain = example.com")
	case o.Users != nil:
		return []string{"smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = inet:" + passwords(t, o.Users)}
	}
	return nil
}

// relay returns the settings of a Postfix that sends all mail to one server.
func (s *Server) relay(o Options) []string {
	host, port, _ := net.SplitHostPort(o.Relay)
	level := o.RelayTLS
	if level == "" {
		level = "none"
	}
	lines := []string{
		"relayhost = [" + host + "]:" + port,
		"default_transport = smtp",
		"smtp_tls_security_level = " + level,
		"smtp_tls_loglevel = 1",
	}
	if o.CA != nil {
		lines = append(lines, "smtp_tls_CAfile = "+o.CA.File)
	}
	if o.Login != "" {
		lines = append(lines,
			"smtp_sasl_auth_enable = yes",
			"smtp_sasl_security_options =",
			"smtp_sasl_password_maps = static:"+o.Login)
	}
	return lines
}

// postlog collects what Postfix logs. It replaces Postfix's postlogd, with which master
// hangs if there are a dozen lines before postlogd is ready. The lines are printed if the
// test fails.
func postlog(t testing.TB, path string) *journal {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		line := make([]byte, 4096)
		for {
			n, err := conn.Read(line)
			if err != nil {
				return
			}
			log.add(string(line[:n]) + "\n")
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
		if t.Failed() {
			t.Logf("Postfix logged:\n%s", log)
		}
	})
	return log
}

// A journal is the log so far.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.WriteString(text)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// smtpServices returns the services that accept connections, and those that they need.
func (o Options) smtpServices() string {
	if o.Postscreen {
		return "- 1 postscreen\nsmtpd pass - - n - - smtpd\ndnsblog unix - - n - 0 dnsblog\ntlsproxy unix - - n - 0 tlsproxy"
	}
	return "- - smtpd"
}

// masterCF is Postfix's usual table of services, without chroot.
const masterCF = `
@ADDR@    inet  n - n @SMTP@
pickup    unix  n - n 1     1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
smtp      unix  - - n -     - smtp
lmtp      unix  - - n -     - lmtp
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
local     unix  - n n -     - local
virtual   unix  - n n -     - virtual
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
`

//go:build linux

package real

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DovecotLMTP starts a Dovecot that serves LMTP on a Unix socket and accepts mail for
// its users ann, bob and cid, in every domain. The Addr of the Server is "unix:" and
// the path of the socket. [Server.Mailbox] gives access to the mail of a user.
func DovecotLMTP(t testing.TB) *Server {
	t.Helper()
	dir := Dir(t)
	socket := filepath.Join(dir, "lmtp")
	mkdirs(t, dir, postfixUID, 0o755, "mail")
	users := ""
	for _, name := range []string{"ann", "bob", "cid"} {
		users += fmt.Sprintf("%s::%d:%d::%s/mail/%[1]s::\n", name, postfixUID, postfixUID, dir)
	}
	write(t, dir, map[string]string{"users": users})
	dovecot(t, dir, dovecotLMTP, "unix", socket)
	return &Server{Addr: "unix:" + socket, dir: dir}
}

// dovecotTokens starts a Dovecot that checks XOAUTH2 and OAUTHBEARER for Postfix's smtpd,
// and returns its address. It accepts tokens that are JWTs signed by RS256, for the user
// in the claim "email". The file key (PEM) has the public key.
func dovecotTokens(t testing.TB, key string) string {
	t.Helper()
	dir, addr := Dir(t), FreeAddr()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	// The names of folders and file are the claim azp, the algorithm, and the header kid.
	mkdirs(t, dir, 0, 0o755, "keys", "keys/default", "keys/default/RS256")
	write(t, dir, map[string]string{
		"keys/default/RS256/default": string(public),
		"oauth2.conf": "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=" + dir + "/keys/\n" +
			"username_attribute = email\n",
	})
	dovecot(t, dir, strings.NewReplacer("@HOST@", host, "@PORT@", port).Replace(dovecotOAuth), "tcp", addr)
	return addr
}

// dovecot starts a Dovecot with its files in dir, and waits until it listens.
//
// A Dovecot looks for its programs at the paths of its package. An unpacked one therefore
// runs in a mount namespace in which they are at these paths.
func dovecot(t testing.TB, dir, conf, network, addr string) {
	t.Helper()
	program := Bin(t, "dovecot", "dovecot")
	needRoot(t, "dovecot")
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		Missing(t, "no unshare in PATH")
	}
	mkdirs(t, dir, 0, 0o755, "run", "state")
	write(t, dir, map[string]string{"dovecot.conf": strings.ReplaceAll(dovecotConf+conf, "@DIR@", dir)})
	config := filepath.Join(dir, "dovecot.conf")
	overlay := "exec dovecot -F -c " + config
	if program != "/usr/sbin/dovecot" {
		overlay = "mount -t overlay overlay -o lowerdir=" + filepath.Join(folder("dovecot"), "usr") + ":/usr /usr && " + overlay
	}
	Start(t, nil, unshare, "-m", "sh", "-c", overlay)
	Wait(t, "Dovecot to listen at "+addr, func() bool {
		conn, err := net.Dial(network, addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	printIfFailed(t, filepath.Join(dir, "log"))
}

// Mailbox returns a copy of s whose Messages returns the mail of user, such as "ann". s
// must be a result of DovecotLMTP. Mailbox waits until user has got the first message,
// and fails the test if that takes more than a minute.
func (s *Server) Mailbox(t testing.TB, user string) *Server {
	t.Helper()
	of := *s
	of.mail = filepath.Join(s.dir, "mail", user, "new")
	Wait(t, "a mailbox of "+user, func() bool {
		_, err := os.Stat(of.mail)
		return err == nil
	})
	return &of
}

// dovecotConf uses users that every Debian system has.
const dovecotConf = `
base_dir = @DIR@/run
state_dir = @DIR@/state
log_path = @DIR@/log
ssl = no
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
first_valid_uid = 1
`

const dovecotLMTP = `
protocols = lmtp
mail_location = maildir:@DIR@/mail/%n
auth_username_format = %n
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = passwd-file
  args = @DIR@/users
}
service lmtp {
  unix_listener @DIR@/lmtp {
    mode = 0666
  }
}
`

const dovecotOAuth = `
protocols = none
auth_mechanisms = xoauth2 oauthbearer
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = @DIR@/oauth2.conf
}
service auth {
  inet_listener {
    address = @HOST@
    port = @PORT@
  }
}
`

//go:build linux

package real

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DovecotLMTP starts a Dovecot that speaks LMTP on a socket in the file system and
// takes mail for everybody. Its Addr is "unix:" and a path; see Mailbox for what it
// stores.
//
// An unpacked Dovecot looks for its programs where the package has them, so it runs in
// a mount namespace of its own, in which they are there.
func DovecotLMTP(t testing.TB) *Server {
	t.Helper()
	dovecot := Bin(t, "dovecot", "dovecot")
	needRoot(t, "dovecot")
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		Missing(t, "no unshare in PATH")
	}
	s := &Server{dir: Dir(t)}
	socket := filepath.Join(s.dir, "lmtp")
	s.Addr = "unix:" + socket
	mkdirs(t, s.dir, 0, 0o755, "run", "state")
	mkdirs(t, s.dir, postfixUID, 0o755, "mail")
	write(t, s.dir, map[string]string{"dovecot.conf": strings.ReplaceAll(dovecotConf, "@DIR@", s.dir)})
	config := filepath.Join(s.dir, "dovecot.conf")
	overlay := "exec dovecot -F -c " + config
	if dovecot != "/usr/sbin/dovecot" {
		overlay = "mount -t overlay overlay -o lowerdir=" + filepath.Join(folder("dovecot"), "usr") + ":/usr /usr && " + overlay
	}
	Start(t, nil, unshare, "-m", "sh", "-c", overlay)
	Wait(t, "Dovecot to listen at "+socket, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	printIfFailed(t, filepath.Join(s.dir, "log"))
	return s
}

// Mailbox is the server as far as it has stored mail for one user, the local part of
// an address.
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

// dovecotConf has nothing but LMTP, under users that every Debian system has.
const dovecotConf = `
protocols = lmtp
base_dir = @DIR@/run
state_dir = @DIR@/state
log_path = @DIR@/log
ssl = no
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
mail_location = maildir:@DIR@/mail/%n
first_valid_uid = 1
auth_username_format = %n
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=mail gid=mail home=@DIR@/mail/%n allow_all_users=yes
}
service lmtp {
  unix_listener @DIR@/lmtp {
    mode = 0666
  }
}
`

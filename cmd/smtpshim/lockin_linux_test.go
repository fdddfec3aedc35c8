package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// A prisoner is a smtpshim that locks itself in, with what it has on disk, and a
// directory beside that.
type prisoner struct {
	*shim
	t         *testing.T
	dir       string
	elsewhere string
	server    string
}

// lockedIn starts one. more is what its configuration says before its route.
func lockedIn(t *testing.T, more string) *prisoner {
	t.Helper()
	if _, err := kernel.LandlockGetABIVersion(); err != nil {
		real.Missing(t, "the kernel has no Landlock: "+err.Error())
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &prisoner{t: t, dir: real.Dir(t), elsewhere: real.Dir(t), server: mailServer(t),
		shim: &shim{addr: real.FreeAddr(), admin: real.FreeAddr()}}
	for _, dir := range []string{p.dir + "/tls", p.dir + "/run", p.dir + "/recorded", p.elsewhere + "/recorded"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	newIdentity(t, p.dir+"/tls")
	newIdentity(t, p.elsewhere)
	p.configure(more, "tls", "recorded", "run/in.sock")
	p.proc, p.log = real.StartLogged(t, []string{"GORACE=halt_on_error=1"}, path, "run", "-config", p.dir+"/smtpshim.toml")
	p.logged(t, "msg=started")
	return p
}

// newIdentity puts a certificate and its key into a directory, in the place of
// those that are there.
func newIdentity(t *testing.T, dir string) {
	t.Helper()
	next := t.TempDir()
	configtest.Certificate(t, next+"/cert.pem", configtest.Key(t, next+"/key.pem"), time.Now().AddDate(1, 0, 0))
	for _, file := range []string{"/cert.pem", "/key.pem"} {
		if err := os.Rename(next+file, dir+file); err != nil {
			t.Fatal(err)
		}
	}
}

// configure writes a configuration with a certificate, recordings and a socket
// there.
func (p *prisoner) configure(more, certificate, recorded, socket string) {
	p.t.Helper()
	write(p.t, p.dir+"/smtpshim.toml", fmt.Sprintf(`admin.listen = %q
state_dir = "state"
%s
[[route]]
name = "in"
listen = [%q, "unix:%s"]
servers = [%q]
record.dir = %q
[route.client_tls]
mode = "offer"
certificate = %q
key = %q
`, p.admin, more, p.addr, filepath.Join(p.dir, socket), p.server, recorded, certificate+"/cert.pem", certificate+"/key.pem"))
}

// reload has the configuration read again, and wants words about it in the log.
func (p *prisoner) reload(words ...string) {
	p.t.Helper()
	before := len(p.log.String())
	p.proc.Signal(syscall.SIGHUP)
	for _, w := range words {
		real.Wait(p.t, "the log to say "+w, func() bool { return strings.Contains(p.log.String()[before:], w) })
	}
}

// delivers sends a message with TLS, and wants the certificate that lies there.
func (p *prisoner) delivers(network, address, certificate string) {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate+"/cert.pem", certificate+"/key.pem")
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	shown := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		if !bytes.Equal(s.PeerCertificates[0].Raw, pair.Certificate[0]) {
			return errors.New("it shows another certificate")
		}
		return nil
	}}
	if err := smtptest.Play(conn, patience,
		smtptest.Expect("220 mail.example.com ESMTP"),
		smtptest.Say("EHLO client.example.com"), smtptest.Expect("250-ok", "250 STARTTLS"),
		smtptest.Say("STARTTLS"), smtptest.Expect("220 2.0.0 ready to start TLS"), smtptest.ClientTLS(shown),
		smtptest.Say("EHLO client.example.com"), smtptest.Expect("250 ok"),
		smtptest.Say("MAIL FROM:<anna@example.com>"), smtptest.Expect("250 ok"),
		smtptest.Say("RCPT TO:<ben@example.net>"), smtptest.Expect("250 ok"),
		smtptest.Say("DATA"), smtptest.Expect("354 go on"),
		smtptest.Say("."), smtptest.Expect("250 ok"),
	); err != nil {
		p.t.Error(err)
	}
}

func TestALockedInProgramObtainsAndStoresTokens(t *testing.T) {
	office := startProvider(t)
	script := filepath.Join(real.Dir(t), "print-token")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nset -e\nid -u >/dev/null\necho a-made-up-token\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	refreshed := strings.NewReplacer(`"office"`, `"refreshed"`, "client-credentials", "refresh-token").Replace(office.account(""))
	p := lockedIn(t, "log.level = \"debug\"\n"+office.account("")+refreshed+
		fmt.Sprintf("[[account]]\nname = \"printed\"\nuser = \"a@example.com\"\nmethod = \"oauth\"\nflow = \"command\"\ncommand = [%q]\n", script))
	p.logged(t, `msg="token obtained" account=office`, `msg="token obtained" account=printed`, `msg="no token" account=refreshed`)
	file := p.dir + "/state/refreshed.token"
	write(t, file, fmt.Sprintf(`{"refresh_token": "first-made-up-refresh-token", "client_id": "shim", "token_url": %q}`, office.endpoint))
	p.logged(t, `msg="token obtained" account=refreshed`)
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "next-made-up-refresh-token") {
		t.Errorf("%v; the next refresh token is not stored", err)
	}
}

// files counts those in a directory.
func files(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestALockedInProgramDoesAllItsWork(t *testing.T) {
	p := lockedIn(t, "")
	p.logged(t, `msg="locked in" landlock=`)
	p.delivers("tcp", p.addr, p.dir+"/tls")
	p.delivers("unix", p.dir+"/run/in.sock", p.dir+"/tls")
	real.Wait(t, "recordings", func() bool { return files(t, p.dir+"/recorded") == 2 })
	real.Wait(t, "metrics of the process", func() bool {
		_, metrics := (&running{t: t, admin: p.admin}).get("/metrics")
		return strings.Contains(metrics, "\nprocess_open_fds ") && strings.Contains(metrics, "\nprocess_start_time_seconds ")
	})

	newIdentity(t, p.dir+"/tls")
	p.reload("msg=reloaded")
	p.delivers("tcp", p.addr, p.dir+"/tls")

	// What is new lies where something was before, and a name is found in /etc/hosts.
	_, port, _ := net.SplitHostPort(p.server)
	p.server = "localhost:" + port
	p.configure("", "tls", "recorded", "run/other.sock")
	p.reload("msg=reloaded")
	p.delivers("unix", p.dir+"/run/other.sock", p.dir+"/tls")
	if _, err := os.Lstat(p.dir + "/run/in.sock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket that is not wanted any more: %v", err)
	}
}

func TestALockedInProgramReadsWhatIsIncludedAndHandedOver(t *testing.T) {
	parts, given, address := real.Dir(t), real.Dir(t), real.FreeAddr()
	write(t, given+"/office.password", "made-up\n")
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	p := lockedIn(t, fmt.Sprintf("include = %q\n", parts))
	write(t, parts+"/more.toml", fmt.Sprintf("[[account]]\nname = \"office\"\nuser = \"x\"\nmethod = \"password\"\npassword_file = \"${CREDENTIALS_DIRECTORY}/office.password\"\n"+
		"[[route]]\nname = \"more\"\nlisten = [%q]\nservers = [%q]\nclient_tls = {mode = \"offer\", certificate = \"%s/tls/cert.pem\", key = \"%[3]s/tls/key.pem\"}\n", address, p.server, p.dir))
	p.reload("msg=reloaded")
	p.delivers("tcp", address, p.dir+"/tls")
}

func TestALockedInProgramReachesNothingElse(t *testing.T) {
	p := lockedIn(t, "")
	const outOfReach = "this is out of its reach: stop it and start it again"
	for _, test := range []struct{ certificate, recorded, socket, key string }{
		{p.elsewhere, "recorded", "run/in.sock", "key=route.client_tls.certificate"},
		{"tls", p.elsewhere + "/recorded", "run/in.sock", "key=route.record.dir"},
		{"tls", "recorded", "../" + filepath.Base(p.elsewhere) + "/in.sock", "listen unix"},
	} {
		p.configure("", test.certificate, test.recorded, test.socket)
		p.reload(test.key, outOfReach, "msg=\"not reloaded; the configuration in force stays\"")
	}
	p.configure(fmt.Sprintf("include = %q\n", p.elsewhere), "tls", "recorded", "run/in.sock")
	p.reload("key=include", outOfReach)
	if n := files(t, p.elsewhere); n != 3 {
		t.Errorf("%d files instead of 3", n)
	}
	if n := files(t, p.elsewhere+"/recorded"); n != 0 {
		t.Errorf("%d recordings where it must not write", n)
	}
	p.delivers("tcp", p.addr, p.dir+"/tls")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.proc.Pid))
	if err != nil || !strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
		t.Errorf("it can get new rights, %v:\n%s", err, status)
	}
}

func TestALockedInProgramSaysWhichIncludedFileIsOutOfItsReach(t *testing.T) {
	parts := real.Dir(t)
	p := lockedIn(t, fmt.Sprintf("include = %q\n", parts))
	const outOfReach = "this is out of its reach: stop it and start it again"
	write(t, p.elsewhere+"/more.toml", configtest.Route("more", real.FreeAddr()))
	if err := os.Symlink(p.elsewhere+"/more.toml", parts+"/more.toml"); err != nil {
		t.Fatal(err)
	}
	p.reload("file="+parts+"/more.toml", outOfReach, "msg=\"not reloaded; the configuration in force stays\"")
	p.configure(fmt.Sprintf("include = %q\n", p.elsewhere), "tls", "recorded", "run/in.sock")
	p.reload("key=include", outOfReach, "msg=\"not reloaded; the configuration in force stays\"")
	p.delivers("tcp", p.addr, p.dir+"/tls")
}

func TestWithoutLockInAReloadReachesEverything(t *testing.T) {
	p := lockedIn(t, "lock_in = false")
	p.configure("lock_in = true", p.elsewhere, p.elsewhere+"/recorded", "../"+filepath.Base(p.elsewhere)+"/in.sock")
	p.reload("msg=reloaded", "key=lock_in")
	p.delivers("tcp", p.addr, p.elsewhere)
	if strings.Contains(p.log.String(), "locked in") {
		t.Error("it has locked itself in")
	}
}

func TestAKernelWithoutLandlockIsToldOf(t *testing.T) {
	for want, version := range map[string]int{"not locked in: the kernel has no Landlock": 0, "locked in": 7} {
		var log strings.Builder
		p := newInstance("smtpshim.toml", &config.Config{LockIn: true}, &log)
		if err := p.lockIn(func(enclosure) (int, error) { return version, nil }); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), `msg="`+want+`"`) || (p.enclosure == nil) != (version == 0) {
			t.Errorf("version %d: %q, %v", version, &log, p.enclosure)
		}
	}
	p := newInstance("smtpshim.toml", &config.Config{LockIn: true}, &strings.Builder{})
	err := p.lockIn(func(enclosure) (int, error) { return 0, syscall.EINVAL })
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "lock_in = false turns this off") {
		t.Errorf("%v", err)
	}
}

func TestOnlyWhatIsOutOfReachNeedsARestart(t *testing.T) {
	dir := t.TempDir()
	within := enclosure{{Path: dir, May: config.Reading}}
	for _, test := range []struct {
		err  error
		hint bool
	}{
		{&fs.PathError{Op: "open", Path: "/srv/cert.pem", Err: syscall.EACCES}, true},
		{fmt.Errorf("certificate: %w", &fs.PathError{Op: "open", Path: dir + "/../cert.pem", Err: syscall.EACCES}), true},
		{&net.OpError{Op: "listen", Addr: &net.UnixAddr{Name: "/srv/in.sock"}, Err: syscall.EACCES}, true},
		{fmt.Errorf("is wrong: %w", &fs.PathError{Op: "open", Path: "/srv/cert.pem", Err: syscall.EACCES}), true},
		{&fs.PathError{Op: "open", Path: dir + "/cert.pem", Err: syscall.EACCES}, false}, // by its mode
		{&fs.PathError{Op: "open", Path: "/srv/cert.pem", Err: syscall.ENOENT}, false},
		{errors.New("is wrong"), false},
	} {
		if got := within.hint(test.err) != ""; got != test.hint {
			t.Errorf("%v: hint %v", test.err, got)
		}
	}
	if hint := (enclosure)(nil).hint(&fs.PathError{Path: "/srv/cert.pem", Err: syscall.EACCES}); hint != "" {
		t.Errorf("not locked in, and %q", hint)
	}
}

func TestALinkIsReachedAtBothEnds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir + "/live", dir + "/archive"} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir+"/archive/cert1.pem", "")
	if err := os.Symlink("../archive/cert1.pem", dir+"/live/cert.pem"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range config.Besides(dir + "/live/cert.pem") {
		got = append(got, p.Path)
	}
	if want := dir + "/live " + dir + "/archive"; strings.Join(got, " ") != want {
		t.Errorf("%q instead of %s", got, want)
	}
}

// The kernel takes sixteen rules one over the other, and each program that a locked
// in one starts brings one.
func TestTheSeventeenthUpgradeIsLockedInByThoseBefore(t *testing.T) {
	const inside = "SMTPSHIM_TEST_LOCKED_IN"
	if os.Getenv(inside) == "" {
		if _, err := kernel.LandlockGetABIVersion(); err != nil {
			real.Missing(t, "the kernel has no Landlock: "+err.Error())
		}
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for i := range 20 {
		if version, err := lockIn(enclosure{{Path: "/proc", May: config.Reading}}); err != nil || version == 0 {
			t.Fatalf("the %dth: %d, %v", i+1, version, err)
		}
	}
	if _, err := os.ReadFile("/etc/passwd"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("it reads what it must not: %v", err)
	}
}

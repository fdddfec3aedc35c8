package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// quittingServer greets, and says goodbye to whatever it hears.
func quittingServer(t *testing.T) (address string) {
	t.Helper()
	return serveEach(t, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			fmt.Fprint(conn, "221 bye\r\n")
		}
	})
}

// quit holds a session that does nothing.
func quit(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	for _, want := range []string{"220 ", "221 "} {
		if want == "221 " {
			fmt.Fprint(conn, "QUIT\r\n")
		}
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			return fmt.Errorf("heard %q, %w; want %s", line, err, want)
		}
	}
	return nil
}

// An unread is a smtpshim whose log goes into a pipe that nobody reads yet.
type unread struct {
	cmd            *exec.Cmd
	address, admin string
	log            *os.File
}

func startUnread(t *testing.T) *unread {
	t.Helper()
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	u := &unread{address: freeAddress(t), admin: freeAddress(t)}
	config := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, config, fmt.Sprintf("drain = \"1s\"\nadmin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\n",
		u.admin, u.address, quittingServer(t)))
	log, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	t.Cleanup(func() { log.Close() })
	u.log = log
	u.cmd = exec.Command(program, "run", "-config", config)
	u.cmd.Stderr = stderr
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.cmd.Process.Kill()
		u.cmd.Wait()
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !u.ready(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it does not become ready")
		}
	}
	return u
}

// ready asks the admin listener.
func (u *unread) ready() bool {
	answer, err := http.Get("http://" + u.admin + "/readyz")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// metric reads a counter without labels, or of the first series that begins so.
func (u *unread) metric(t *testing.T, name string) int {
	t.Helper()
	answer, err := http.Get("http://" + u.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// sessions holds so many, some at once. It stops at the first that fails.
func (u *unread) sessions(t *testing.T, n int) {
	t.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := quit(u.address); err != nil {
					if done := int64(n) - left.Swap(0); done > 0 {
						t.Errorf("session %d: %v", done, err)
					}
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// TestALogThatNobodyReadsHoldsUpNoMail has more sessions than a pipe and the queue
// have room for lines.
func TestALogThatNobodyReadsHoldsUpNoMail(t *testing.T) {
	const n = 10_000
	u := startUnread(t)
	u.sessions(t, n)
	if !u.ready() {
		t.Error("it is not ready")
	}
	ended := fmt.Sprintf("smtpshim_sessions_total{outcome=%q,route=%q}", "ok", "in")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); u.metric(t, ended) < n; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d sessions have ended of %d", u.metric(t, ended), n)
		}
	}
	dropped := u.metric(t, "smtpshim_log_lines_dropped_total")

	written, told, last := 0, 0, ""
	notice := regexp.MustCompile(`level=ERROR msg="lines of the log were dropped: .*" lines=(\d+)$`)
	u.log.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(u.log)
	for lines.Scan() {
		last = lines.Text()
		if !strings.HasPrefix(last, "time=") {
			t.Errorf("a line is not whole: %q", last)
		}
		if strings.Contains(last, " msg=session ") {
			if written++; written == n-dropped { // from here on there is room
				u.cmd.Process.Signal(syscall.SIGTERM)
			}
		}
		if m := notice.FindStringSubmatch(last); m != nil {
			lost, _ := strconv.Atoi(m[1])
			told += lost
		}
	}
	if lines.Err() != nil {
		t.Error(lines.Err())
	}
	if err := u.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if dropped == 0 || written+dropped != n {
		t.Errorf("%d lines of sessions were written and %d dropped, of %d", written, dropped, n)
	}
	if told != dropped {
		t.Errorf("lines tell of %d that were dropped; want %d", told, dropped)
	}
	if !strings.HasSuffix(last, "msg=stopped") {
		t.Errorf("the last line is %q", last)
	}
}

// TestAFullLogDoesNotKeepTheProgramFromEnding has nobody ever read it.
func TestAFullLogDoesNotKeepTheProgramFromEnding(t *testing.T) {
	u := startUnread(t)
	u.sessions(t, 1000) // more than a pipe has room for
	u.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- u.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// TestAReaderOfTheLogThatEndsEndsNothingElse has the pipe broken.
func TestAReaderOfTheLogThatEndsEndsNothingElse(t *testing.T) {
	u := startUnread(t)
	u.log.Close()
	u.sessions(t, 100)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); u.metric(t, "smtpshim_log_lines_dropped_total") == 0; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("lines that nobody can read are not counted")
		}
	}
}

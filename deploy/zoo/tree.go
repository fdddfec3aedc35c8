//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Tree is a folder of unpacked packages. The programs in it run with this folder as
// their root directory.
type Tree struct {
	Root string
}

// A Peer is a client or server of another project: a program in the folder clients or
// servers. Its first lines have a comment that begins with "zoo: ". If the word core
// follows, the peer belongs to the core, to which a run with -core is limited. Other
// words are for people.
type Peer struct {
	Name string
	Core bool
	path string // inside the tree
}

// parts copies what programs of both folders share into the tree: the files of clients
// whose names begin with "_".
func (t Tree) parts(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "clients", "_*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		to := filepath.Join(t.Root, "/zoo/clients")
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), text, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// peers lists the programs of a folder, and copies them into the tree.
func (t Tree) peers(dir string) ([]Peer, error) {
	if err := t.parts(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	inside := filepath.Join("/zoo", filepath.Base(dir))
	if err := os.MkdirAll(filepath.Join(t.Root, inside), 0o755); err != nil {
		return nil, err
	}
	var peers []Peer
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(t.Root, inside, e.Name()), text, 0o755); err != nil {
			return nil, err
		}
		if strings.HasPrefix(e.Name(), "_") || !strings.HasPrefix(string(text), "#!") {
			continue // a part of others
		}
		head := string(text[:min(len(text), 300)])
		peers = append(peers, Peer{
			Name: strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())),
			Core: strings.Contains(head, "zoo: core"),
			path: filepath.Join(inside, e.Name()),
		})
	}
	return peers, nil
}

// A Run is one run of a program in the tree.
type Run struct {
	cmd  *exec.Cmd
	out  *lockedBuffer
	dir  string // its folder, outside of the tree
	done chan struct{}
}

// lockedBuffer is what a program has written so far, up to a bound.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text.Len() < 1<<20 {
		b.text.Write(p)
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs a peer with variables beside the usual ones. ZOO_TMP is a folder of
// its own; ZOO_MESSAGE is the message in it.
func (t Tree) start(p Peer, vars ...string) (*Run, error) {
	dir, err := os.MkdirTemp(filepath.Join(t.Root, "tmp"), "z")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "message"), []byte(message), 0o644); err != nil {
		return nil, err
	}
	inside := filepath.Join("/tmp", filepath.Base(dir))
	r := &Run{cmd: exec.Command(p.path), out: &lockedBuffer{}, dir: dir, done: make(chan struct{})}
	r.cmd.Path = p.path
	r.cmd.Err = nil
	r.cmd.Dir = inside
	r.cmd.Env = append([]string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + inside, "LANG=C.UTF-8", "USER=root", "LOGNAME=root", "TZ=UTC",
		"ZOO_TMP=" + inside, "ZOO_MESSAGE=" + inside + "/message", "ZOO_HOST=127.0.0.1",
		"ZOO_FROM=anna@example.com", "ZOO_TO1=ben@example.net", "ZOO_TO2=carl@example.net",
	}, vars...)
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	r.cmd.WaitDelay = time.Second
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: t.Root, Setsid: true}
	if err := r.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		r.cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// Wait waits until the program ends, and returns its exit status. The result is -1 if
// it does not end within patience, or if a signal has ended it.
func (r *Run) Wait(patience time.Duration) int {
	select {
	case <-r.done:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		return -1
	}
}

// Close ends the program and all processes that it started, and removes its folder.
// Processes that left the process group are found by the name of that folder in their
// environment.
func (r *Run) Close() {
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.done
	inside := []byte("ZOO_TMP=" + filepath.Join("/tmp", filepath.Base(r.dir)) + "\x00")
	processes, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range processes {
		if environ, err := os.ReadFile(p); err == nil && bytes.Contains(environ, inside) {
			if pid := filepath.Base(filepath.Dir(p)); pid != "" {
				exec.Command("kill", "-9", pid).Run()
			}
		}
	}
	os.RemoveAll(r.dir)
}

// version names the package that a program came from, as the list of the installer
// has it.
func (t Tree) versions() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(t.Root, "zoo", "versions"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no list of versions; run deploy/zoo/install")
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			list[name] = version
		}
	}
	return list, err
}

// pick leaves those that were named, or are of the core.
func pick(peers []Peer, names []string, core bool) []Peer {
	return slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool {
		if len(names) > 0 {
			return !slices.Contains(names, p.Name)
		}
		return core && !p.Core
	})
}

// message is what every client sends, with LF at the end of each line.
const message = `From: anna@example.com
To: ben@example.net, carl@example.net
Subject: zoo
Date: Tue, 14 Nov 2023 22:13:20 +0000
Message-ID: <zoo@example.com>

one
.two
..three

end
`

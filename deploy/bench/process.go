//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is one that we have started, with all that it starts: they are in a
// process group of their own.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // its stderr
	ended chan struct{}
	pids  []int // of the group, once found
}

// start runs a program until stop, or until we are gone. Whoever calls it must
// be locked to its thread.
func start(dir, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// patience is how long a process may take to listen, or to end.
const patience = 5 * time.Second

// stop ends the process and waits until it has gone.
func (p *process) stop() {
	group := -p.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
	}
	syscall.Kill(group, syscall.SIGKILL) // what the first one has left behind
	<-p.ended
}

// listens waits until there is somebody at the address.
func (p *process) listens(ctx context.Context, address string) error {
	for limit := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%s does not listen on %s: %s", p.name, address, p.lastWords())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s has ended: %s", p.name, p.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords is the end of its log.
func (p *process) lastWords() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(b))
	return text[max(0, len(text)-500):]
}

// find looks up who lives in the group, which does not change once it listens.
func (p *process) find() error {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	p.pids = nil
	for _, name := range stats {
		if fields, err := statFields(name); err == nil && fields[4] == strconv.Itoa(p.cmd.Process.Pid) && fields[2] != "Z" {
			pid, _ := strconv.Atoi(fields[0])
			p.pids = append(p.pids, pid)
		}
	}
	if len(p.pids) == 0 {
		return fmt.Errorf("%s has ended: %s", p.name, p.lastWords())
	}
	return nil
}

// statFields reads a stat file of proc(5); field n there is n-1 here. The second,
// a name in brackets that may hold blanks, is left empty.
func statFields(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	text := string(b)
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 1 || to < from {
		return nil, fmt.Errorf("%s: no name in brackets", name)
	}
	fields := append([]string{text[:from-1], ""}, strings.Fields(text[to+1:])...)
	if len(fields) < 17 {
		return nil, fmt.Errorf("%s: %d fields, want 17 at least", name, len(fields))
	}
	return fields, nil
}

// tick is the unit of times in /proc, 1/100 s wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// cpu is the time of processors that the group has used, its own and the system's
// on its behalf.
func (p *process) cpu() (time.Duration, error) {
	var all time.Duration
	for _, pid := range p.pids {
		fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		for _, field := range fields[13:17] { // utime, stime, and those of children that have ended
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", p.name, err)
			}
			all += time.Duration(ticks) * tick
		}
	}
	return all, nil
}

// memory is what the group has resident, in octets, with pages that several use
// divided among them (PSS).
func (p *process) memory() (int64, error) {
	var all int64
	for _, pid := range p.pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		_, rest, _ := strings.Cut(string(b), "\nPss:")
		line, _, _ := strings.Cut(rest, "kB")
		n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: Pss in smaps_rollup: %w", p.name, err)
		}
		all += n * kib
	}
	return all, nil
}

// A worker is a process of this program that takes orders and answers them, as JSON.
type worker struct {
	*process
	orders io.WriteCloser
	encode *json.Encoder
	decode *json.Decoder
}

// startWorker runs this program with a subcommand, at most until the context ends.
func startWorker(ctx context.Context, dir string, args ...string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe, which Wait closes before all is read.
	out, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = ours
	p, err := start(dir, args[0], cmd)
	ours.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	return &worker{p, in, json.NewEncoder(in), json.NewDecoder(out)}, p.find()
}

// ask gives an order and waits for the answer.
func (w *worker) ask(order, answer any) error {
	if err := w.encode.Encode(order); err != nil {
		return fmt.Errorf("%s: %w: %s", w.name, err, w.lastWords())
	}
	return w.hear(answer)
}

func (w *worker) hear(answer any) error {
	err := w.decode.Decode(answer)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has ended: %s", w.name, w.lastWords())
	}
	return err
}

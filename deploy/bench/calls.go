//go:build linux

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// calls are how many system calls of a name were made for an operation.
type calls map[string]float64

// all is how many there were, whatever their name.
func (c calls) all() (n float64) {
	for _, name := range slices.Sorted(maps.Keys(c)) { // in the same order, for the same sum
		n += c[name]
	}
	return n
}

// count counts the system calls that each proxy makes in workloads, by strace(1), and
// prints them. Everything is far slower meanwhile, and waits more often than else.
func (b *bench) count(ctx context.Context, out io.Writer, ws []*workload) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("-calls needs strace, which counts them: %w", err)
	}
	var proxies []*proxy
	sessions := 0
	for i := range b.proxies {
		proxies = append(proxies, &b.proxies[i])
	}
	for _, w := range ws {
		if w.kind == holding {
			return fmt.Errorf("-calls with %s, whose sessions do nothing", w.name)
		}
		sessions = max(sessions, w.sessions)
	}
	s, err := b.set(ctx, sessions, proxies...)
	defer s.strike()
	if err != nil {
		return err
	}
	for _, w := range ws {
		var names []string
		var all []calls
		for _, r := range s.proxies {
			if !r.proxy.does(w) {
				continue
			}
			c, err := b.countOne(ctx, s, w, r)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, r.name, err)
			}
			names, all = append(names, r.name), append(all, c)
		}
		writeCalls(out, w.name, names, all)
	}
	return nil
}

// countOne counts during a run.
func (b *bench) countOne(ctx context.Context, s *stage, w *workload, r *running) (calls, error) {
	if _, err := s.one(w, r, b.length/2); err != nil { // what is done once is done by then
		return nil, err
	}
	file := filepath.Join(b.dir, "calls")
	args := []string{"-f", "-c", "-o", file}
	for _, pid := range r.process.pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	tracer := exec.CommandContext(ctx, "strace", args...)
	said, err := tracer.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := tracer.Start(); err != nil {
		return nil, err
	}
	err = attached(said, len(r.process.pids))
	var run figure
	if err == nil {
		run, err = s.one(w, r, b.length)
	}
	tracer.Process.Signal(syscall.SIGINT) // it writes what it has counted, and lets go
	_, drained := io.Copy(io.Discard, said)
	if err = errors.Join(err, drained); err != nil {
		tracer.Wait()
		return nil, err
	}
	tracer.Wait() // which fails, since it was interrupted
	return readCalls(file, run.Done)
}

// attached waits until strace has taken hold of so many processes.
func attached(said io.Reader, processes int) error {
	lines := bufio.NewScanner(said)
	var last string
	for lines.Scan() {
		if last = lines.Text(); strings.Contains(last, " attached") {
			if processes--; processes == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("strace does not attach: %q", cmp.Or(last, "it says nothing"))
}

// readCalls reads the table of strace -c.
func readCalls(file string, operations int64) (calls, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := calls{}
	for line := range strings.Lines(string(text)) { // % time, seconds, usecs/call, calls, perhaps errors, name
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if n, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
			c[fields[len(fields)-1]] = float64(n) / float64(operations)
		}
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("strace has counted nothing: %q", text)
	}
	return c, nil
}

// writeCalls writes a row for every call and a column for every proxy. Calls that none
// makes once in twenty operations are left out.
func writeCalls(out io.Writer, workload string, names []string, all []calls) {
	row := func(cells ...string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	row(append([]string{"calls, `" + workload + "`"}, names...)...)
	row(slices.Repeat([]string{"---"}, len(names)+1)...)
	most := calls{}
	for _, c := range all {
		for name, n := range c {
			most[name] = max(most[name], n)
		}
	}
	ordered := slices.SortedFunc(maps.Keys(most), func(a, b string) int {
		return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(a, b))
	})
	cells := func(name string, of func(calls) float64) []string {
		cells := []string{name}
		for _, c := range all {
			cells = append(cells, fmt.Sprintf("%.1f", of(c)))
		}
		return cells
	}
	for _, name := range ordered {
		if most[name] >= 0.05 {
			row(cells(name, func(c calls) float64 { return c[name] })...)
		}
	}
	row(cells("in all", calls.all)...)
	fmt.Fprintln(out)
}

//go:build linux

// Command bench measures what a session, a message or a command costs through smtpshim,
// compared with HAProxy and nginx, and prints a table. deploy/bench/run builds and runs
// it. Nothing leaves the machine.
//
// A generator sends mail through each proxy to a sink, which counts and discards it.
// The generator, the sink and each proxy are separate processes, so that the kernel
// accounts for them separately. Generator and sink run this program. All of them share
// the machine's processors: with all cores busy, a proxy that costs as much as
// generator and sink together halves the rate.
//
// The speed of a virtual machine changes from one second to the next, so only ratios
// are meaningful. Each run through a proxy is between two runs without one and is
// compared with their mean. The sink must receive exactly the octets that were sent. A
// run in which it does not is an error and has no result. Only the memory of idle
// sessions is measured without such comparisons.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // processes die with the thread that has started them
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "sink":
		return runSink(os.Stdin, os.Stdout, filepath.Join(args[1], "ecdsa.pem"), filepath.Join(args[1], "rsa.pem"))
	case len(args) == 1 && args[0] == "load":
		return runLoad(os.Stdin, os.Stdout)
	}
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	list := f.String("w", strings.Join(workloadNames(), ","), "workloads")
	rounds := f.Int("r", 7, "rounds; memory is looked at in three of them")
	length := f.Duration("d", 700*time.Millisecond, "length of each run")
	idle := f.Int("idle", 5000, "idle sessions at most")
	file := f.String("json", "", "file for all the single runs")
	count := f.Bool("calls", false, "count the system calls for an operation instead, by strace")
	processors := f.Int("cpus", 0, "how many processors all of it shares; 0: all there are")
	path := f.String(smtpshim, smtpshim, "the program to measure")
	rules := f.String("rules", "standard", "rules of smtpshim, separated by commas; another build has the standard ones")
	other := f.String(before, "", "another build of it, to compare with in place of HAProxy and nginx; each round starts both anew")
	f.Usage = func() {
		f.PrintDefaults()
		fmt.Fprintln(f.Output(), "Workloads:")
		for _, w := range workloads {
			fmt.Fprintf(f.Output(), "  %-15s %s\n", w.name, w.about)
		}
	}
	f.Parse(args)
	if f.NArg() > 0 || *rounds < 1 || *length <= 0 || *idle < 1 || *processors < 0 {
		return errors.New("want -r, -d and -idle above zero, -cpus not below, and no arguments")
	}
	if err := keepTo(*processors); err != nil {
		return err
	}
	var ws []*workload
	for name := range strings.SplitSeq(*list, ",") {
		w, err := findWorkload(name)
		if err != nil {
			return err
		}
		ws = append(ws, w)
	}
	b := &bench{rounds: *rounds, length: *length, idle: *idle, calls: *count,
		say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	all := proxies(*path, *other)
	all[0].rules = strings.Split(*rules, ",")
	return b.table(ws, all, *file)
}

// processors is how many this thread may use.
func processors() int {
	var some unix.CPUSet
	if unix.SchedGetaffinity(0, &some) != nil {
		return runtime.NumCPU()
	}
	return some.Count()
}

// keepTo keeps this thread, and the processes that it starts, to so many processors.
func keepTo(n int) error {
	if n == 0 {
		return nil
	}
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for cpu := 0; some.Count() < n; cpu++ {
		switch {
		case cpu == len(all)*strconv.IntSize:
			return fmt.Errorf("-cpus %d, but this machine has %d", n, all.Count())
		case all.IsSet(cpu):
			some.Set(cpu)
		}
	}
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &some))
}

// table runs the workloads with those proxies that are there, and prints what came
// of it. An interrupt ends everything.
func (b *bench) table(ws []*workload, all []proxy, file string) error {
	for _, p := range all {
		why := p.missing()
		switch {
		case why == "":
			b.proxies = append(b.proxies, p)
		case p.ours:
			return errors.New(why)
		default:
			b.say("%s is left out: %s", p.name, why)
		}
	}
	if err := b.descriptors(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "smtpshim-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if err := writeCertificates(dir); err != nil {
		return err
	}
	m := lookAtMachine(b.proxies)
	if b.calls {
		fmt.Printf("%s\nSystem calls for an operation, in a run of %v.\n\n", m, b.length)
		return b.count(ctx, os.Stdout, ws)
	}
	failure := b.run(ctx, ws)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	fmt.Printf("%s\n%d rounds of %v; at most %d idle sessions.\n\n", m, b.rounds, b.length, b.idle)
	writeTable(os.Stdout, ws, b.proxies, b.samples)
	writeChanges(os.Stdout, ws, b.samples)
	if file != "" {
		if err := b.save(file, m); err != nil {
			return err
		}
	}
	if failure != nil {
		return failure
	}
	failed := func(s sample) bool { return s.Err != "" }
	if slices.ContainsFunc(b.samples, failed) {
		return errors.New("some runs have failed")
	}
	return nil
}

// save writes everything that was measured.
func (b *bench) save(file string, m machine) error {
	text, err := json.MarshalIndent(struct {
		Machine machine  `json:"machine"`
		Rounds  int      `json:"rounds"`
		Length  string   `json:"length"`
		Samples []sample `json:"samples"`
	}{m, b.rounds, b.length.String(), b.samples}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// descriptors has us, and all that we start, use as many as we may. A proxy needs
// two for a session.
func (b *bench) descriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of descriptors: %w", err)
	}
	const others = 3000 // the proxies' own, and those of sessions beyond the idle ones
	if most := (int(min(limit.Max, 1<<20)) - others) / 2; b.idle > most {
		b.say("only %d idle sessions, with %d descriptors", most, limit.Max)
		b.idle = most
	}
	if b.idle < 1 {
		return fmt.Errorf("%d descriptors at most; want 4000 or more (ulimit -Hn)", limit.Max)
	}
	return nil
}

// A machine is where it was measured, and what.
type machine struct {
	CPU      string   `json:"cpu"`
	CPUs     int      `json:"cpus"`
	System   string   `json:"system"`
	Kernel   string   `json:"kernel"`
	Programs []string `json:"programs"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %s, Linux %s.\n%s.", m.CPUs, m.CPU, m.System, m.Kernel, strings.Join(m.Programs, ", "))
}

func lookAtMachine(proxies []proxy) machine {
	var programs []string
	for _, p := range proxies {
		if p.ours {
			programs = append(programs, p.name+": "+firstLine(p.args("")[0], "version"))
		}
	}
	return machine{
		CPU:      field("/proc/cpuinfo", "model name", ":"),
		CPUs:     processors(),
		System:   strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`),
		Kernel:   strings.TrimSpace(read("/proc/sys/kernel/osrelease")),
		Programs: append(programs, "bench built with "+runtime.Version(), firstLine(haproxy, "-v"), firstLine("nginx", "-v")),
	}
}

func read(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	return string(b)
}

// field is the value of the first line that begins with a key.
func field(file, key, separator string) string {
	for line := range strings.Lines(read(file)) {
		if name, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// firstLine is what a program says of itself.
func firstLine(args ...string) string {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "no " + filepath.Base(args[0])
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line, _, _ = strings.Cut(line, " - ")
	return line
}

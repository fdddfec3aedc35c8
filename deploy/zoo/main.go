//go:build linux

// Command zoo runs mail programs of other projects against each other, directly and
// through smtpshim, and compares what happens step by step. See README.md.
//
//	zoo -smtpshim PROGRAM -tree DIR [-core] [-half clients|servers] [-peer NAME,...] [-case NAME,...] [-keep FILE] [-page FILE] [-j N] [-v]
//
// It runs real clients against a scripted server, and scripted clients against real
// servers. It needs Linux, root, and a network of its own, which deploy/zoo/run creates.
//
// The exit status is 2 if the run failed. It is 1 if something is worse through
// smtpshim and the table reasons.txt has no reason for it. With -core it is also 1 if a
// peer is missing. Otherwise it is 0.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Zoo has what all comparisons of one run share: the settings and the reasons.
type Zoo struct {
	smtpshim string
	tree     Tree
	rules    []ruleSet
	reasons  []*Reason
	kept     *keeper // nil: nothing is kept
	verbose  bool
	workers  int

	free addresses
	mu   sync.Mutex // for output
}

// A ruleSet is the value of the key rules of a route.
type ruleSet struct {
	name string
	list []string
}

// options are the flags.
type options struct {
	dir, half, keep, page string
	peers, cases          []string
	core                  bool
}

func main() {
	z := &Zoo{rules: []ruleSet{{"[]", nil}, {"standard", []string{"standard"}}}}
	var o options
	var peers, cases string
	flag.StringVar(&z.smtpshim, "smtpshim", "", "the `program`")
	flag.StringVar(&z.tree.Root, "tree", "", "the `folder` that deploy/zoo/install made")
	flag.StringVar(&o.dir, "dir", "deploy/zoo", "the `folder` with clients, servers, behaviours and dialogues")
	flag.StringVar(&o.half, "half", "", "run one half only: clients or servers")
	flag.StringVar(&peers, "peer", "", "run these peers only: `names` with commas")
	flag.StringVar(&cases, "case", "", "run these behaviours and groups of dialogues only: `names` with commas")
	flag.BoolVar(&o.core, "core", false, "run the core only, with the rules standard; a peer that is missing is a failure")
	flag.StringVar(&o.keep, "keep", "", "add the results of each peer to a `file`, and do not play those that it has")
	flag.StringVar(&o.page, "page", "", "write the matrix to a `file`")
	flag.IntVar(&z.workers, "j", 2, "run as `many` peers at once; most of them wait")
	flag.BoolVar(&z.verbose, "v", false, "print the dialogues of all that is not the same")
	flag.Parse()
	o.peers, o.cases = split(peers), split(cases)
	worse, err := z.run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "zoo:", err)
		os.Exit(2)
	}
	if worse {
		os.Exit(1)
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (z *Zoo) run(o options) (worse bool, err error) {
	begun := time.Now()
	if z.reasons, err = readReasons(filepath.Join(o.dir, "reasons.txt")); err != nil {
		return false, err
	}
	m := &Matrix{core: o.core, verbose: z.verbose}
	if o.core {
		z.rules = z.rules[1:] // what [] does not mend may be worse anyway
	}
	var jobs []job
	if o.half != "servers" {
		if jobs, err = z.clients(m, o); err != nil {
			return false, err
		}
	}
	if o.half != "clients" {
		servers, err := z.servers(m, o)
		if err != nil {
			return false, err
		}
		jobs = append(jobs, servers...)
	}
	switch {
	case o.keep != "" && len(o.cases) > 0:
		return false, errors.New("-keep and -case: what is kept of a peer is all its cases")
	case o.keep != "":
		if z.kept, err = openKeeper(o.keep); err != nil {
			return false, err
		}
	}
	z.each(m, jobs)
	m.took = time.Since(begun)
	if m.versions, err = z.tree.versions(); err != nil {
		return false, err
	}
	m.print(os.Stdout)
	if o.page != "" {
		if err := m.write(o.page); err != nil {
			return false, err
		}
	}
	return m.failed(), nil
}

// A job compares one peer, direct and through smtpshim.
type job struct {
	half string
	peer Peer
	play func() ([]Result, error)
}

// each does the jobs, some at a time, and adds the results in the order of the jobs.
// It begins with the last: servers let time pass while clients use the processors.
func (z *Zoo) each(m *Matrix, jobs []job) {
	results := make([][]Result, len(jobs))
	missing := make([]error, len(jobs))
	next := make(chan int)
	var all sync.WaitGroup
	for range z.workers {
		all.Go(func() {
			for i := range next {
				begun := time.Now()
				results[i], missing[i] = z.play(jobs[i])
				z.tell(jobs[i], results[i], missing[i], time.Since(begun))
			}
		})
	}
	for i := range slices.Backward(jobs) {
		next <- i
	}
	close(next)
	all.Wait()
	for i, j := range jobs {
		if missing[i] != nil {
			m.missing = append(m.missing, fmt.Sprintf("%s %s: %v", j.half, j.peer.Name, missing[i]))
			continue
		}
		m.results = append(m.results, results[i]...)
	}
}

// play does a job, unless its results are kept from an earlier run.
func (z *Zoo) play(j job) ([]Result, error) {
	if z.kept == nil {
		return j.play()
	}
	if had, ok := z.kept.had[[2]string{j.half, j.peer.Name}]; ok {
		for i := range had {
			if had[i].Reason = ""; had[i].Verdict == Worse {
				had[i].Reason = excuse(z.reasons, had[i]) // the table may have changed
			}
		}
		return had, nil
	}
	results, err := j.play()
	if err == nil {
		err = z.kept.keep(j.half, j.peer.Name, results)
	}
	return results, err
}

// tell says how a peer fared, as soon as it is done.
func (z *Zoo) tell(j job, results []Result, missing error, took time.Duration) {
	count := map[Verdict]int{}
	for _, r := range results {
		count[r.Verdict]++
	}
	z.say("%s %s: %.0f s: %d same, %d better, %d different, %d unsteady, %d worse", j.half, j.peer.Name, took.Seconds(),
		count[Same], count[Better], count[Differs], count[Unsteady], count[Worse])
	for _, r := range results {
		if r.Verdict == Worse || r.Verdict == Unsteady {
			z.say("%v", r)
		}
	}
	if missing != nil {
		z.say("%s %s is missing: %v", j.half, j.peer.Name, missing)
	}
}

func (z *Zoo) clients(m *Matrix, o options) ([]job, error) {
	behaviours, err := readBehaviours(filepath.Join(o.dir, "behaviours"))
	if err != nil {
		return nil, err
	}
	if len(o.cases) > 0 {
		behaviours = slices.DeleteFunc(behaviours, func(b *Behaviour) bool { return !slices.Contains(o.cases, b.Name) })
	}
	peers, err := z.tree.peers(filepath.Join(o.dir, "clients"))
	if err != nil {
		return nil, err
	}
	m.behaviours = behaviours
	var jobs []job
	for _, p := range pick(peers, o.peers, o.core) {
		jobs = append(jobs, job{"client", p, func() ([]Result, error) { return z.playClient(p, behaviours) }})
	}
	return jobs, nil
}

func (z *Zoo) say(format string, args ...any) {
	z.mu.Lock()
	defer z.mu.Unlock()
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// trace prints two deliveries that are not the same.
func (z *Zoo) trace(r Result, direct, through Delivery) {
	if !z.verbose || r.Verdict == Same {
		return
	}
	z.say("%v\n  direct:\n    %s\n    %s\n  through:\n    %s\n    %s", r,
		strings.Join(direct.Lines, "\n    "), direct.Output, strings.Join(through.Lines, "\n    "), through.Output)
}

// traceDialogue prints two plays of a dialogue that are not the same.
func (z *Zoo) traceDialogue(r Result, direct, through Spoken) {
	if !z.verbose || r.Verdict == Same {
		return
	}
	z.say("%v\n  direct:\n    %s\n  through:\n    %s", r, strings.Join(direct.Lines, "\n    "), strings.Join(through.Lines, "\n    "))
}

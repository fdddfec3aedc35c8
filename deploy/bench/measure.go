//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A figure is what one run has come to.
type figure struct {
	Rate float64 `json:"rate,omitempty"`     // operations a second
	CPU  float64 `json:"cpu_us,omitempty"`   // microseconds of processors for an operation
	P50  float64 `json:"p50_us,omitempty"`   // of a session or a command, in microseconds
	P99  float64 `json:"p99_us,omitempty"`   //
	Held float64 `json:"held_kib,omitempty"` // memory of an idle session
	Done int64   `json:"-"`                  // operations
}

// A sample is one run of a proxy, with its yardstick: the mean of the runs
// without a proxy before it and after it, where CPU is the sink's.
type sample struct {
	Workload string `json:"workload"`
	Proxy    string `json:"proxy"`
	Round    int    `json:"round"`
	figure
	Direct figure `json:"direct"`
	Err    string `json:"error,omitempty"`
}

// A bench runs workloads against proxies.
type bench struct {
	dir     string // ours to write to
	proxies []proxy
	rounds  int
	length  time.Duration // of a run
	idle    int           // sessions held at most
	calls   bool          // count them, and measure nothing else
	samples []sample
	say     func(format string, args ...any) // progress
}

// idleRounds is how often memory is looked at, each time with fresh processes: it
// hardly differs from one time to the next.
const idleRounds = 3

// run runs workloads one after the other, until the context ends. Idle sessions
// come first: what is busy leaves ports behind that nobody can use for a minute.
func (b *bench) run(ctx context.Context, ws []*workload) error {
	var busy, idle []*workload
	for _, w := range ws {
		if w.kind == holding {
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	for _, w := range idle {
		if err := b.weigh(ctx, w); err != nil {
			return err
		}
	}
	if len(busy) == 0 {
		return nil
	}
	return b.measure(ctx, busy)
}

// A stage is the processes that run at a time.
type stage struct {
	sink, load *worker
	addresses  map[string]string // of the sink
	proxies    []*running
}

// set starts a sink, a generator and proxies. The stage has to be struck even if
// there is an error. A peer that does not start is left out aloud.
func (b *bench) set(ctx context.Context, sessions int, proxies ...*proxy) (*stage, error) {
	s := &stage{}
	var err error
	if s.sink, err = startWorker(ctx, b.dir, "sink", b.dir); err != nil {
		return s, err
	}
	if err := s.sink.hear(&s.addresses); err != nil {
		return s, err
	}
	if s.load, err = startWorker(ctx, b.dir, "load"); err != nil {
		return s, err
	}
	for _, p := range proxies {
		r, err := p.run(ctx, b.dir, s.addresses, sessions)
		switch {
		case err == nil:
			s.proxies = append(s.proxies, r)
			continue
		case r != nil:
			r.stop()
		}
		if p.name == smtpshim || ctx.Err() != nil {
			return s, err
		}
		b.say("%s is left out: %v", p.name, err)
	}
	return s, nil
}

// strike ends all processes of the stage.
func (s *stage) strike() {
	for _, r := range s.proxies {
		r.stop()
	}
	for _, w := range []*worker{s.load, s.sink} {
		if w != nil {
			w.stop()
		}
	}
}

// warm is how long builds run before they are compared: in their first seconds under load
// they take memory from the system, of which some goes back after the first collections.
const warm = 4 * time.Second

// measure runs workloads for their rates and waits. All rounds are on one stage, unless
// builds are compared: then each round has one of its own. What a program costs depends a
// little on where its memory lies, which stays so until it ends: two processes of one build
// may differ by 5 % or more, however many rounds they run.
func (b *bench) measure(ctx context.Context, ws []*workload) error {
	if !slices.ContainsFunc(b.proxies, func(p proxy) bool { return p.name == before }) {
		return b.measureOn(ctx, ws, b.length/2, 0, b.rounds)
	}
	for round := range b.rounds {
		if err := b.measureOn(ctx, ws, warm, round, 1); err != nil {
			return err
		}
	}
	return nil
}

// measureOn runs rounds on one stage, after a time to warm up. The first of them has the
// number first.
func (b *bench) measureOn(ctx context.Context, ws []*workload, warm time.Duration, first, rounds int) error {
	var proxies []*proxy
	sessions := 0
	for i := range b.proxies {
		proxies = append(proxies, &b.proxies[i])
	}
	for _, w := range ws {
		sessions = max(sessions, w.sessions)
	}
	if first/2%2 == 1 { // four rounds have all orders of starting and of measuring
		slices.Reverse(proxies)
	}
	s, err := b.set(ctx, sessions, proxies...)
	defer s.strike()
	if err != nil {
		return err
	}
	for _, w := range ws {
		began := time.Now()
		var able []*running
		for _, r := range s.proxies {
			if r.proxy.does(w) {
				able = append(able, r)
				if _, err := s.one(w, r, warm); err != nil && ctx.Err() == nil {
					b.say("%s, %s, warming up: %v", w.name, r.name, err)
				}
			}
		}
		for round := range rounds {
			if err := b.round(ctx, s, w, able, first+round); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		b.say("%s: %d of %d rounds, %.0f s", w.name, first+rounds, b.rounds, time.Since(began).Seconds())
	}
	return nil
}

// round runs direct, a proxy, direct, the next proxy, direct and so on. Each round
// begins with another proxy, so that none always has the same neighbours.
func (b *bench) round(ctx context.Context, s *stage, w *workload, able []*running, round int) error {
	before, err := s.one(w, nil, b.length)
	if err != nil {
		return err
	}
	for i := range able {
		r := able[(i+round)%len(able)]
		sample := sample{Workload: w.name, Proxy: r.name, Round: round + 1}
		found, failure := s.one(w, r, b.length)
		after, err := s.one(w, nil, b.length)
		if err != nil {
			return err
		}
		sample.figure, sample.Direct = found, mean(before, after)
		if failure != nil {
			sample.Err = failure.Error()
			b.say("%s, %s: %v", w.name, r.name, failure)
		}
		b.samples = append(b.samples, sample)
		before = after
	}
	return nil
}

// one is a run through a proxy or, without one, direct. What the sink has taken
// must be what was sent.
func (s *stage) one(w *workload, r *running, length time.Duration) (figure, error) {
	order, measured := job{Workload: w.name, Address: s.addresses[w.over], For: length}, s.sink.process
	switch {
	case r != nil:
		order.Address, measured = r.listen[w.over], r.process
	case w.direct != "":
		order.Workload = w.direct
	}
	var taken tally
	if err := s.sink.ask("what an earlier run has left", &taken); err != nil {
		return figure{}, err
	}
	before, err := measured.cpu()
	if err != nil {
		return figure{}, err
	}
	var o outcome
	if err := s.load.ask(order, &o); err != nil {
		return figure{}, err
	}
	after, err := measured.cpu()
	if err != nil {
		return figure{}, err
	}
	if err := s.sink.ask("what this one has sent", &taken); err != nil {
		return figure{}, err
	}
	switch {
	case o.Err != "":
		return figure{}, errors.New(o.Err)
	case o.Done == 0:
		return figure{}, errors.New("nothing was done")
	case taken != o.Seen:
		return figure{}, fmt.Errorf("the sink has %+v, but %+v was sent", taken, o.Seen)
	}
	done := float64(o.Done)
	return figure{
		Rate: done / o.Took.Seconds(),
		CPU:  microseconds(after-before) / done,
		P50:  microseconds(o.P50),
		P99:  microseconds(o.P99),
		Done: o.Done,
	}, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// settling is how long memory is given to come to rest.
const settling = 14 * time.Second

// weigh finds what an idle session takes, each time with fresh processes.
func (b *bench) weigh(ctx context.Context, w *workload) error {
	began, rounds := time.Now(), min(b.rounds, idleRounds)
	for round := range rounds {
		for i := range b.proxies {
			if p := &b.proxies[i]; p.does(w) {
				if err := b.weighOne(ctx, w, p, round); err != nil {
					return fmt.Errorf("%s: %w", w.name, err)
				}
			}
		}
	}
	b.say("%s: %d rounds, %.0f s", w.name, rounds, time.Since(began).Seconds())
	return nil
}

func (b *bench) weighOne(ctx context.Context, w *workload, p *proxy, round int) error {
	sessions := min(b.idle, w.sessions)
	s, err := b.set(ctx, sessions, p)
	defer s.strike()
	if err != nil || len(s.proxies) == 0 {
		return err
	}
	sample := sample{Workload: w.name, Proxy: p.name, Round: round + 1}
	held, err := s.hold(ctx, w, sessions)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		sample.Err = err.Error()
		b.say("%s, %s: %v", w.name, p.name, err)
	}
	sample.Held = held
	b.samples = append(b.samples, sample)
	return nil
}

// hold has the stage's proxy hold sessions, and gives the KiB that each takes.
func (s *stage) hold(ctx context.Context, w *workload, sessions int) (float64, error) {
	r := s.proxies[0]
	before, err := r.memory()
	if err != nil {
		return 0, err
	}
	order := job{Workload: w.name, Address: r.listen[w.over], Sessions: sessions}
	var o outcome
	if err := s.load.ask(order, &o); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settling):
	}
	after, err := r.memory()
	if err != nil || o.Err != "" {
		return 0, cmp.Or(err, errors.New(o.Err))
	}
	order.Check = true
	if err := s.load.ask(order, &o); err != nil {
		return 0, err
	}
	if o.Err != "" {
		return 0, fmt.Errorf("idle session %d of %d: %s", o.Done+1, sessions, o.Err)
	}
	return float64(after-before) / float64(sessions) / kib, nil
}

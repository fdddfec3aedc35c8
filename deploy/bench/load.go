//go:build linux

package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A job is one run of the generator.
type job struct {
	Workload string
	Address  string
	For      time.Duration // nothing new is begun after it
	Sessions int           // at a time
	Check    bool          // the sessions that are held: are they still there?
}

// An outcome is what a run has come to. Times are of a session where each has
// one message, or of a command; zero where neither is measured.
type outcome struct {
	Done     int64 // operations: messages, commands, or sessions that are held
	Seen     tally // what the sink must have taken
	Took     time.Duration
	P50, P99 time.Duration
	Err      string // the first thing that went wrong
}

// grace is how long what was begun in time may still take.
const grace = 30 * time.Second

// runLoad is the generator's process: jobs come as JSON and are answered by
// outcomes. It ends with its input, and with it the sessions that it holds.
func runLoad(in io.Reader, out io.Writer) error {
	var g generator
	decode, encode := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j job
		if err := decode.Decode(&j); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err := encode.Encode(g.run(j)); err != nil {
			return err
		}
	}
}

// A generator keeps what one job leaves for the next.
type generator struct {
	name string // of the workload that message is of
	*message
	held []*client
}

func (g *generator) run(j job) outcome {
	w, err := findWorkload(j.Workload)
	if err != nil {
		return outcome{Err: err.Error()}
	}
	switch {
	case j.Check:
		return g.check()
	case w.kind == holding:
		return g.hold(w, j)
	case w.kind == waiting:
		return wait(w, j)
	}
	if g.name != w.name {
		g.name, g.message = w.name, newMessage(w)
	}
	return g.send(w, j)
}

// An effort is what the goroutines of a run have in common.
type effort struct {
	stop   time.Time
	failed atomic.Bool
	mu     sync.Mutex
	err    error
}

func (e *effort) more() bool { return !e.failed.Load() && time.Now().Before(e.stop) }

func (e *effort) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
	e.failed.Store(true)
}

func (e *effort) into(o outcome) outcome {
	if e.err != nil {
		o.Err = e.err.Error()
	}
	return o
}

// send sends messages for as long as the job says.
func (g *generator) send(w *workload, j job) outcome {
	began := time.Now()
	e := &effort{stop: began.Add(j.For)}
	var sent atomic.Int64
	times := make([][]time.Duration, w.sessions)
	var wg sync.WaitGroup
	for i := range w.sessions {
		wg.Go(func() {
			for e.more() {
				began := time.Now()
				n, err := g.session(w, j.Address, e)
				sent.Add(n)
				if err != nil {
					e.fail(err)
					return
				}
				if w.messages == 1 {
					times[i] = append(times[i], time.Since(began))
				}
			}
		})
	}
	wg.Wait()
	o := outcome{Done: sent.Load(), Seen: g.seen.times(sent.Load()), Took: time.Since(began)}
	o.P50, o.P99 = percentiles(slices.Concat(times...))
	return e.into(o)
}

// session is a whole one, and gives how many messages were taken.
func (g *generator) session(w *workload, address string, e *effort) (sent int64, err error) {
	c, err := dial(w, address, e.stop.Add(grace))
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	for sent < int64(w.messages) && (sent == 0 || e.more()) {
		if err := c.send(w, g.message); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, c.say(quit, "221")
}

// wait times single commands. They are said in a transaction, because a proxy
// may answer earlier ones by itself.
func wait(w *workload, j job) outcome {
	began := time.Now()
	e := &effort{stop: began.Add(j.For)}
	times := make([]time.Duration, 0, 1<<16)
	c, err := dial(w, j.Address, e.stop.Add(grace))
	if err != nil {
		return outcome{Err: err.Error()}
	}
	defer c.conn.Close()
	if err = c.envelope(); err == nil {
		for last := time.Now(); e.more(); {
			if err = c.say(noop, "250"); err != nil {
				break
			}
			now := time.Now()
			times = append(times, now.Sub(last))
			last = now
		}
	}
	if err != nil {
		e.fail(err)
	}
	o := outcome{Done: int64(len(times)), Took: time.Since(began)}
	o.P50, o.P99 = percentiles(times)
	return e.into(o)
}

// hold opens sessions and keeps them.
func (g *generator) hold(w *workload, j job) outcome {
	began := time.Now()
	e := &effort{stop: began.Add(grace)}
	queue := make(chan struct{}, j.Sessions)
	for range j.Sessions {
		queue <- struct{}{}
	}
	close(queue)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range queue {
				c, err := dial(w, j.Address, began.Add(5*time.Minute))
				if err != nil {
					e.fail(err)
					return
				}
				mu.Lock()
				g.held = append(g.held, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return e.into(outcome{Done: int64(len(g.held)), Took: time.Since(began)})
}

// check says something in every session that is held.
func (g *generator) check() outcome {
	for i, c := range g.held {
		if err := c.say(noop, "250"); err != nil {
			return outcome{Done: int64(i), Err: err.Error()}
		}
	}
	return outcome{Done: int64(len(g.held))}
}

// A client is the generator's end of one session.
type client struct{ wire }

// What clients say.
var (
	ehlo     = []byte("EHLO client.example.com\r\n")
	starttls = []byte("STARTTLS\r\n")
	mail     = []byte("MAIL FROM:<a@example.com>\r\n")
	rcpt     = []byte("RCPT TO:<b@example.net>\r\n")
	data     = []byte("DATA\r\n")
	noop     = []byte("NOOP\r\n")
	quit     = []byte("QUIT\r\n")
	group    = slices.Concat(mail, rcpt, data)
)

// trusting takes the certificates that were made for this run. TLS 1.3 and
// X25519 are what every proxy here can do; without a cache of sessions each
// handshake is a full one.
var trusting = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}

// dial begins a session, up to the answer to EHLO.
func dial(w *workload, address string, deadline time.Time) (*client, error) {
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(deadline)
	c := &client{wire{conn: conn}}
	if w.over == tlsECDSA || w.over == tlsRSA {
		c.conn = tls.Client(conn, trusting)
	}
	if err := c.begin(w.over == starttlsECDSA); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) begin(startTLS bool) error {
	if err := c.hear("220", 1); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if startTLS {
		if err := c.say(ehlo, "250"); err != nil {
			return err
		}
		if err := c.say(starttls, "220"); err != nil {
			return err
		}
		c.conn = tls.Client(c.conn, trusting)
	}
	return c.say(ehlo, "250")
}

// say writes a command and hears its reply, which must have this code.
func (c *client) say(command []byte, code string) error {
	if _, err := c.conn.Write(command); err != nil {
		return err
	}
	if err := c.hear(code, 1); err != nil {
		return fmt.Errorf("%q: %w", command, err)
	}
	return nil
}

// hear reads replies, which must all have this code.
func (c *client) hear(code string, replies int) error {
	for replies > 0 {
		line, err := c.next()
		switch {
		case err != nil:
			return err
		case line == nil:
			if err := c.fill(); err != nil {
				return err
			}
		case len(line) < 3 || string(line[:3]) != code:
			return fmt.Errorf("got %q, want %s", line, code)
		case len(line) == 3 || line[3] != '-':
			replies--
		}
	}
	return nil
}

// send sends one message.
func (c *client) send(w *workload, m *message) error {
	if w.grouped {
		if _, err := c.conn.Write(group); err != nil {
			return err
		}
		if err := c.hear("250", 2); err != nil {
			return err
		}
		if err := c.hear("354", 1); err != nil {
			return err
		}
		return c.body(m.data)
	}
	if err := c.envelope(); err != nil {
		return err
	}
	if w.chunked {
		return c.body(m.chunk)
	}
	if err := c.say(data, "354"); err != nil {
		return err
	}
	return c.body(m.data)
}

func (c *client) envelope() error {
	if err := c.say(mail, "250"); err != nil {
		return err
	}
	return c.say(rcpt, "250")
}

// body writes a message in pieces, as senders do, and hears the answer.
func (c *client) body(b []byte) error {
	for piece := range slices.Chunk(b, largeBuffer) {
		if _, err := c.conn.Write(piece); err != nil {
			// The server may have said why before it went.
			return errors.Join(err, c.hear("250", 1))
		}
	}
	if err := c.hear("250", 1); err != nil {
		return fmt.Errorf("a message of %d octets: %w", len(b), err)
	}
	return nil
}

// percentiles of times, which are sorted for it.
func percentiles(times []time.Duration) (p50, p99 time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}

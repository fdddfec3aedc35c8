package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// TestNoFalseYesWhateverBreaks has many sessions between a client and a sink
// that records what it has accepted, and breaks each of them once, somewhere:
// what the client was told is accepted, the sink has, once and unchanged; what
// the sink has, the client was told, or it was told 421, or lost its connection.
//
// SMTPSHIM_CHAOS is the number of sessions, SMTPSHIM_CHAOS_SEED where they begin, and
// SMTPSHIM_CHAOS_WAIT how long a peer may be silent: on a busy machine most sessions time
// out before anything else goes wrong if that is too short.
// SMTPSHIM_CHAOS_RULES names sets and rules, with commas between: the sessions have each
// of them in turn. "all" is every rule there is. Without it they have chaosMix.
func TestNoFalseYesWhateverBreaks(t *testing.T) {
	sessions, seed := 4000, rand.Uint64()
	if testing.Short() {
		sessions = 400
	}
	for name, set := range map[string]func(string) error{
		"SMTPSHIM_CHAOS":      func(v string) (err error) { sessions, err = strconv.Atoi(v); return err },
		"SMTPSHIM_CHAOS_SEED": func(v string) (err error) { seed, err = strconv.ParseUint(v, 10, 64); return err },
		"SMTPSHIM_CHAOS_WAIT": func(v string) (err error) { _, err = time.ParseDuration(v); return err },
	} {
		if v := os.Getenv(name); v != "" {
			if err := set(v); err != nil {
				t.Fatal(name, err)
			}
		}
	}
	t.Logf("seed %d", seed)
	p := quiet()
	defer p.Close()
	all := chaos(t, p, seed, func(n int) bool { return n < sessions })
	t.Logf("%d sessions: %v", sessions, all)
	if all.n["accepted"] == 0 || all.n["lost"] == 0 || all.n["refused"] == 0 || all.n["only the sink has it"] == 0 {
		t.Error("not everything that can happen did")
	}
}

const chaosWorkers = 64

// chaos has sessions break as long as there are to be more, and counts what
// came of their messages. between is called with the routes while they run.
func chaos(t *testing.T, p *proxy.Proxy, seed uint64, more func(n int) bool, between ...func([]*proxy.Route)) *tally {
	ours, theirs := testTLS(t)
	var all []*chaosWorker
	var routes []*proxy.Route
	for i := range chaosWorkers {
		w, r := newChaosWorker(t, uint64(i), seed, ours, theirs)
		all, routes = append(all, w), append(routes, r)
	}
	if err := p.Apply(routes); err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	var sum tally
	for i, w := range all {
		w.address = p.Addr(routes[i].Listen[0]).String()
		workers.Go(func() {
			for n := i; more(n) && !t.Failed(); n += chaosWorkers {
				w.session(n)
			}
			sum.add(&w.told)
		})
	}
	for _, f := range between {
		f(routes)
	}
	workers.Wait()
	return &sum
}

// tally counts what messages came to.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *tally) add(b *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	for what, n := range b.n {
		a.n[what] += n
	}
}

func (a *tally) String() string { return fmt.Sprint(a.n) }

// A chaosWorker has a route and a sink of its own, and one session at a time.
type chaosWorker struct {
	t        *testing.T
	number   uint64
	mayChunk bool // by BDAT
	greets   []string
	seed     uint64
	address  string
	ended    *counts
	sink     *sink
	theirs   *tls.Config // nil: no STARTTLS said
	told     tally
}

func newChaosWorker(t *testing.T, number, seed uint64, ours, theirs *tls.Config) (*chaosWorker, *proxy.Route) {
	wait := 60 * time.Millisecond
	if d, err := time.ParseDuration(os.Getenv("SMTPSHIM_CHAOS_WAIT")); err == nil {
		wait = d
	}
	w := &chaosWorker{t: t, number: number, seed: seed, ended: newCounts(), told: tally{n: map[string]int{}}}
	w.sink = newSink(t, ours)
	r := &proxy.Route{Name: fmt.Sprint("chaos-", number), Listen: []string{fmt.Sprintf("127.0.0.%d:0", number+2)}, Servers: []string{w.sink.listener.Addr().String()},
		Observer: w.ended, Timeouts: proxy.Timeouts{Connect: time.Second, Greeting: wait, TLS: wait, Command: wait, Reply: wait, Data: wait, DataEnd: wait}}
	kinds := chaosKinds()
	kind := kinds[int(number)%len(kinds)]
	r.Rules, w.sink.chunking, w.mayChunk, w.greets = kind.rules(t), kind.offers, kind.mayChunk, kind.greets
	switch number % 4 {
	case 1:
		clientLeg(rewrite.ClientTLSOffer, ours)(r)
		w.theirs = theirs
	case 2:
		serverLeg(rewrite.ServerTLSOpportunistic, theirs)(r)
		w.sink.tls = true
	}
	return w, r
}

// A mail is one message of a session, and how it is sent.
type mail struct {
	id        string
	body      []byte // as the sink is to have it
	chunks    []int  // ends of BDAT's chunks; nil: by DATA
	pipelined bool
}

// session is one session with one thing wrong in it, by its number.
func (w *chaosWorker) session(n int) {
	random := rand.New(rand.NewPCG(w.seed, uint64(n)))
	plan := &plan{random: random, greeting: "sink.example.net ESMTP"}
	var mails []*mail
	for i := range 1 + random.IntN(3) {
		mails = append(mails, newMail(random, fmt.Sprintf("%d-%d", n, i), w.mayChunk))
	}
	plan.draw(mails)
	if w.greets != nil {
		plan.greeting = w.greets[random.IntN(len(w.greets))]
	}
	w.sink.begin(plan)
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		w.t.Errorf("session %d: %v", n, err)
		return
	}
	client := &driver{plan: plan, conn: plan.client.over(conn), theirs: w.theirs, told: map[string]string{}}
	client.run(mails)
	conn.Close()
	select {
	case <-w.ended.ended:
	case <-time.After(patience):
		w.t.Errorf("session %d, %v: not over", n, plan)
		return
	}
	w.judge(n, plan, mails, client.told)
}

// judge compares what the client was told with what the sink has.
func (w *chaosWorker) judge(n int, plan *plan, mails []*mail, told map[string]string) {
	if plan.client != nil && plan.client.kind == "garbage" {
		return // what such a client means, and what it takes for an answer, nobody can say
	}
	for _, m := range mails {
		got, times := w.sink.got(m.id)
		what := told[m.id]
		wrong := ""
		switch {
		case times > 1:
			wrong = fmt.Sprintf("accepted %d times", times)
		case times == 1 && !bytes.Equal(got, m.body):
			wrong = fmt.Sprintf("accepted with %d octets, not %d", len(got), len(m.body))
		case what == "accepted" && times == 0 && !w.sink.saidYesFirst(m.id):
			wrong = "a false yes"
		case what == "refused" && times == 1 && !plan.sink.says("550"):
			wrong = "a false no"
		}
		if wrong != "" {
			w.t.Errorf("session %d of seed %d, %v: message %s, %d octets, chunks %v, pipelined %v: %s", n, w.seed, plan, m.id, len(m.body),
				m.chunks, m.pipelined, wrong)
		}
		w.told.n[what]++
		if what == "lost" && times == 1 {
			w.told.n["only the sink has it"]++
		}
	}
}

func newMail(random *rand.Rand, id string, mayChunk bool) *mail {
	size := random.IntN(300)
	if random.IntN(10) == 0 {
		size = random.IntN(200 << 10)
	}
	m := &mail{id: id, pipelined: random.IntN(2) == 0}
	m.body = append([]byte("Subject: "+id+"\r\n\r\n"), unstuffed(randomLines(random, size))...)
	if mayChunk && random.IntN(2) == 0 {
		for at := 0; at < len(m.body); {
			at = min(at+1+random.IntN(len(m.body)), len(m.body))
			m.chunks = append(m.chunks, at)
		}
	}
	return m
}

// grow makes a message longer, at its end.
func (m *mail) grow(octets int) {
	m.body = append(m.body, bytes.Repeat([]byte("a line of text that is forty octets or so\r\n"), octets/43)...)
	if m.chunks != nil {
		m.chunks[len(m.chunks)-1] = len(m.body)
	}
}

// unstuffed is a text as it is without what DATA needs.
func unstuffed(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		out = append(out, bytes.TrimPrefix(line, []byte("."))...)
	}
	return out
}

// stuffed is a text as it goes by DATA.
func stuffed(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if line[0] == '.' {
			out = append(out, '.')
		}
		out = append(out, line...)
	}
	return append(out, ".\r\n"...)
}

// A driver is a client that waits for what it has to wait for, and records
// what it was told of each message: "accepted", "refused", or "lost" where it
// was told 421, or nothing. "" is a message that was never sent to its end.
type driver struct {
	plan   *plan
	conn   net.Conn
	r      *bufio.Reader
	theirs *tls.Config
	told   map[string]string
}

var errTold421 = errors.New("421")

// hear reads a whole reply.
func (d *driver) hear() (string, error) {
	for {
		d.conn.SetReadDeadline(time.Now().Add(patience))
		line, err := d.r.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case len(line) < 5 || !strings.HasSuffix(line, "\r\n"):
			return "", fmt.Errorf("the client heard %q", line)
		case line[:3] == "421":
			return "", errTold421
		case line[3] == ' ':
			return line[:3], nil
		}
	}
}

func (d *driver) say(octets ...[]byte) error {
	d.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := d.conn.Write(bytes.Join(octets, nil))
	return err
}

// asks says one command and gives the code of its answer.
func (d *driver) asks(command string) (string, error) {
	if err := d.say([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	return d.hear()
}

func (d *driver) run(mails []*mail) {
	d.r = bufio.NewReader(d.conn)
	if code, err := d.hear(); err != nil || code != "220" {
		return
	}
	if _, err := d.asks("EHLO client.example.com"); err != nil {
		return
	}
	if d.theirs != nil {
		if code, err := d.asks("STARTTLS"); err != nil || code != "220" {
			return
		}
		secure := tls.Client(d.conn, d.theirs)
		d.conn, d.r = secure, bufio.NewReader(secure)
		if _, err := d.asks("EHLO client.example.com"); err != nil {
			return
		}
	}
	for _, m := range mails {
		if err := d.deliver(m); err != nil {
			return
		}
	}
	d.asks("QUIT")
}

// deliver sends one message, and RSET if it was not taken.
func (d *driver) deliver(m *mail) error {
	envelope := []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"}
	good := true
	if m.pipelined {
		if err := d.say([]byte(strings.Join(envelope, "\r\n") + "\r\n")); err != nil {
			return err
		}
	}
	for _, command := range envelope {
		var code string
		var err error
		if m.pipelined {
			code, err = d.hear()
		} else {
			code, err = d.asks(command)
		}
		if err != nil {
			return err
		}
		good = good && code[0] == '2'
	}
	code, err := "", error(nil)
	switch {
	case !good:
	case m.chunks == nil:
		code, err = d.data(m)
	default:
		code, err = d.bdat(m)
	}
	switch {
	case err != nil:
		return err
	case code == "250":
		d.told[m.id] = "accepted"
		return nil
	case code != "":
		d.told[m.id] = "refused"
	}
	_, err = d.asks("RSET")
	return err
}

func (d *driver) data(m *mail) (string, error) {
	if code, err := d.asks("DATA"); err != nil || code != "354" {
		return "", err
	}
	text := stuffed(m.body)
	d.told[m.id] = "lost" // until something else is said
	if d.plan.early.id == m.id {
		if err := d.say(text[:len(text)-3]); err != nil {
			return "", err
		}
		d.plan.early.wait()
		text = text[len(text)-3:]
	}
	if err := d.say(text); err != nil {
		return "", err
	}
	return d.hear()
}

func (d *driver) bdat(m *mail) (code string, err error) {
	at := 0
	var held [][]byte
	for i, end := range m.chunks {
		last := ""
		if i == len(m.chunks)-1 {
			last = " LAST"
			d.told[m.id] = "lost"
		}
		held = append(held, fmt.Appendf(nil, "BDAT %d%s\r\n", end-at, last), m.body[at:end])
		if last != "" && d.plan.early.id == m.id {
			tail := len(held) - 1
			if err := d.say(append(held[:tail:tail], held[tail][:len(held[tail])-1])...); err != nil {
				return "", err
			}
			d.plan.early.wait()
			held = [][]byte{m.body[len(m.body)-1:]}
		}
		at = end
		if m.pipelined && last == "" {
			continue
		}
		if err := d.say(held...); err != nil {
			return "", err
		}
		held = nil
		if !m.pipelined {
			if code, err = d.hear(); err != nil || code[0] != '2' {
				return code, err
			}
		}
	}
	if m.pipelined {
		for range m.chunks {
			if code, err = d.hear(); err != nil {
				return "", err
			}
		}
	}
	return code, nil
}

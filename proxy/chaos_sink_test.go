package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A plan is what goes wrong in one session.
type plan struct {
	random       *rand.Rand
	greeting     string
	client, sink *damage
	early        early
	refuses      map[string]bool // messages by id
}

func (p *plan) String() string {
	describe := func(who string, f *damage) string {
		if f == nil {
			return ""
		}
		way := "reads"
		if f.write {
			way = "writes"
		}
		return fmt.Sprintf("%s: %s at octet %d that it %s", who, f.kind, f.at, way)
	}
	if p.early.id != "" {
		return fmt.Sprintf("%q to %s after %d octets, then %q", p.early.says, p.early.id, p.early.after, p.early.leave)
	}
	return describe("client", p.client) + describe("sink", p.sink)
}

// An early answer is one to a message that is still being sent.
type early struct {
	id    string // "": none
	after int    // octets of the message
	says  string
	leave string // "": it stays
	said  chan struct{}
	state *atomic.Int32 // 0: open; 1: the sink says it; 2: the client has not waited, and it would be none
}

// wait is for the answer to be under way, or never to be.
func (e *early) wait() {
	select {
	case <-e.said:
	case <-time.After(100 * time.Millisecond): // it never came so far
		if !e.state.CompareAndSwap(0, 2) {
			<-e.said
		}
	}
}

// draw thinks of something that goes wrong.
func (p *plan) draw(mails []*mail) {
	octets := 400
	p.refuses = map[string]bool{}
	for _, m := range mails {
		octets += len(m.body) + 100
		p.refuses[m.id] = p.random.IntN(10) == 0
	}
	kinds := []string{"reset", "close", "half close", "stall", "garbage", "short"}
	f := &damage{kind: kinds[p.random.IntN(len(kinds))], write: p.random.IntN(2) == 0, seed: p.random.Uint64()}
	switch p.random.IntN(9) {
	case 0:
		m := mails[p.random.IntN(len(mails))]
		says := []string{"250 early\r\n", "550 early\r\n", "354 early\r\n", "421 early\r\n", "early\r\n", "250-early\r\n", "2", ""}
		p.early = early{id: m.id, after: p.random.IntN(len(m.body)), says: says[p.random.IntN(len(says))], said: make(chan struct{}), state: new(atomic.Int32),
			leave: []string{"", "FIN", "RST"}[p.random.IntN(3)]}
		if p.random.IntN(2) == 0 {
			m.grow(100 << 10)
		}
	case 1, 2, 3: // what a client writes is a message, and what it reads are replies
		if f.at = p.random.IntN(octets); !f.write {
			f.at = p.random.IntN(150 + 130*len(mails))
		}
		p.client = f
	default:
		if f.at = p.random.IntN(octets); f.write {
			f.at = p.random.IntN(150 + 130*len(mails))
		}
		p.sink = f
	}
}

// A sink is a strict server that records what it has accepted.
type sink struct {
	listener net.Listener
	chunking bool
	tls      bool
	ours     *tls.Config

	mu    sync.Mutex
	plan  *plan
	taken map[string][][]byte // by Subject
	yes   map[string]bool     // messages, by Subject, that were refused behind a yes, which is the answer with and without a proxy
}

func newSink(t *testing.T, ours *tls.Config) *sink {
	s := &sink{listener: listen(t), ours: ours}
	var connections sync.WaitGroup
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			p := s.plan
			s.mu.Unlock()
			connections.Go(func() {
				defer conn.Close()
				v := &visit{sink: s, plan: p, conn: p.sink.over(conn), tcp: conn.(*net.TCPConn)}
				v.serve()
			})
		}
	}()
	t.Cleanup(connections.Wait)
	return s
}

// begin forgets the session before.
func (s *sink) begin(p *plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.taken, s.yes = p, map[string][][]byte{}, map[string]bool{}
}

func (s *sink) take(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, _, _ := bytes.Cut(text, []byte("\r\n"))
	id := strings.TrimPrefix(string(line), "Subject: ")
	s.taken[id] = append(s.taken[id], text)
}

// saysYesFirst notes that a yes stands before the refusal of a message.
func (s *sink) saysYesFirst(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.yes[id] = true
}

func (s *sink) saidYesFirst(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.yes[id]
}

func (s *sink) got(id string) (text []byte, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	times = len(s.taken[id])
	if times > 0 {
		text = s.taken[id][0]
	}
	return text, times
}

// A visit is one connection to the sink.
type visit struct {
	sink *sink
	plan *plan
	conn net.Conn
	tcp  *net.TCPConn
	r    *bufio.Reader

	text   []byte // of the message so far
	inMail bool
	broken bool // the rest of this message's chunks is refused
	ahead  bool // an early answer was given
}

var errLeft = errors.New("the sink has hung up")

func (v *visit) line() (string, error) {
	v.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := v.r.ReadString('\n')
	if err == nil && !strings.HasSuffix(line, "\r\n") {
		err = fmt.Errorf("the sink heard %q", line)
	}
	return strings.TrimSuffix(line, "\r\n"), err
}

func (v *visit) say(reply string) error {
	v.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := io.WriteString(v.conn, reply+"\r\n")
	return err
}

func (v *visit) serve() {
	v.r = bufio.NewReader(v.conn)
	err := v.say("220 " + v.plan.greeting)
	for err == nil {
		var line string
		if line, err = v.line(); err == nil {
			err = v.answer(line)
		}
	}
}

func (v *visit) answer(line string) error {
	verb, _, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		reply := "250-sink.example.net\r\n250-PIPELINING\r\n"
		if v.sink.chunking {
			reply += "250-CHUNKING\r\n"
		}
		if _, encrypted := v.conn.(*tls.Conn); v.sink.tls && !encrypted {
			reply += "250-STARTTLS\r\n"
		}
		return v.say(reply + "250 SIZE")
	case "STARTTLS":
		if err := v.say("220 go"); err != nil {
			return err
		}
		v.conn = tls.Server(v.conn, v.sink.ours)
		v.r = bufio.NewReader(v.conn)
		return nil
	case "MAIL", "RSET":
		v.text, v.broken, v.inMail = nil, false, verb == "MAIL"
		return v.say("250 2.1.0 ok")
	case "RCPT":
		return v.say("250 2.1.5 ok")
	case "DATA":
		if !v.inMail {
			return v.say("503 5.5.1 MAIL first")
		}
		if err := v.say("354 go on"); err != nil {
			return err
		}
		return v.data()
	case "BDAT":
		return v.bdat(line)
	case "QUIT":
		v.say("221 2.0.0 bye")
		return errLeft
	}
	return v.say("500 5.5.1 what?")
}

func (v *visit) data() error {
	for {
		v.conn.SetReadDeadline(time.Now().Add(patience))
		line, err := v.r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			return v.end()
		}
		v.text = append(v.text, strings.TrimPrefix(line, ".")...)
		if err := v.answersEarly(); err != nil {
			return err
		}
	}
}

func (v *visit) bdat(line string) error {
	var n int
	var last string
	if _, err := fmt.Sscanf(line+" -", "BDAT %d %s", &n, &last); err != nil {
		return fmt.Errorf("the sink heard %q: %w", line, err)
	}
	for n > 0 { // piece by piece, or there would be no early answer
		v.conn.SetReadDeadline(time.Now().Add(patience))
		piece := make([]byte, min(n, 4096))
		got, err := v.r.Read(piece)
		if err != nil {
			return err
		}
		n -= got
		v.text = append(v.text, piece[:got]...)
		if n == 0 || last != "LAST" {
			continue // an answer would not be too early
		}
		if err := v.answersEarly(); err != nil {
			return err
		}
	}
	switch {
	case !v.inMail:
		return v.say("503 5.5.1 MAIL first")
	case last == "LAST":
		return v.end()
	}
	return v.say("250 2.0.0 so far")
}

// answersEarly says what the plan says, once enough of the message has come.
func (v *visit) answersEarly() error {
	e := &v.plan.early
	if v.ahead || e.id == "" || len(v.text) < e.after || !bytes.HasPrefix(v.text, []byte("Subject: "+e.id+"\r\n")) {
		return nil
	}
	if !e.state.CompareAndSwap(0, 1) {
		return nil
	}
	v.ahead = true
	io.WriteString(v.conn, e.says)
	defer close(e.said)
	switch e.leave {
	case "":
		return nil
	case "RST":
		v.tcp.SetLinger(0)
		v.tcp.Close()
	default:
		v.tcp.CloseWrite()
		go io.Copy(io.Discard, v.conn)
	}
	return errLeft
}

// end is the end of a message: it is accepted, or refused, before that is said.
func (v *visit) end() error {
	text := v.text
	v.text, v.inMail = nil, false
	line, _, _ := bytes.Cut(text, []byte("\r\n"))
	if id := strings.TrimPrefix(string(line), "Subject: "); v.plan.refuses[id] || v.ahead {
		if f, ok := v.conn.(*faulty); ok && f.isNext() && f.says("250") {
			v.sink.saysYesFirst(id)
		}
		return v.say("554 5.6.0 not wanted")
	}
	v.sink.take(text)
	return v.say("250 2.0.0 taken")
}

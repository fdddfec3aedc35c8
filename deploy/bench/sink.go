//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"sync"
)

// A tally is what the sink has taken. Octets are those of DATA with the final
// dot, or of BDAT; Sum is the sum of every message's CRC-32C over them. So a
// proxy that loses, doubles or changes something is found out. It is about a fifth
// of what the sink spends on a large message, the same with a proxy and without.
type tally struct {
	Messages, Octets int64
	Sum              uint64
}

func (t tally) times(n int64) tally {
	return tally{t.Messages * n, t.Octets * n, t.Sum * uint64(n)}
}

// A sink takes every message, counts it and forgets it.
type sink struct {
	mu    sync.Mutex
	taken tally
}

func (s *sink) take(octets int64, sum uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken.Messages++
	s.taken.Octets += octets
	s.taken.Sum += uint64(sum)
}

// reset gives what was taken since the last reset.
func (s *sink) reset() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.taken
	s.taken = tally{}
	return t
}

// runSink is the sink's process. It writes the addresses it listens on, by
// name, as JSON; then, for each line it reads, the tally since the one before.
// It ends with its input.
func runSink(in io.Reader, out io.Writer, ecdsa, rsa string) error {
	s := &sink{}
	addresses := map[string]string{}
	for _, name := range listeners {
		config, err := serverTLS(name, ecdsa, rsa)
		if err != nil {
			return err
		}
		l, err := listen()
		if err != nil {
			return err
		}
		addresses[name] = l.Addr().String()
		go s.serve(l, name, config)
	}
	encode := json.NewEncoder(out)
	if err := encode.Encode(addresses); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := encode.Encode(s.reset()); err != nil {
			return err
		}
	}
	return nil
}

// serverTLS is what a listener needs to know of TLS: nothing, if it is plain.
func serverTLS(name, ecdsa, rsa string) (*tls.Config, error) {
	file := ecdsa
	switch name {
	case plain:
		return nil, nil
	case tlsRSA:
		file = rsa
	}
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}, nil
}

func listen() (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	return listenAt(config)
}

func (s *sink) serve(l net.Listener, name string, config *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r := &reception{sink: s, wire: wire{conn: conn}}
		switch {
		case name == starttlsECDSA:
			r.secure = config
		case config != nil:
			r.conn = tls.Server(conn, config)
		}
		go r.run()
	}
}

// A reception is one session at the sink.
type reception struct {
	wire
	sink     *sink
	secure   *tls.Config // for STARTTLS, if it is offered
	out      []byte      // replies not written yet
	envelope int         // 0: nothing, 1: a sender, 2: recipients
}

func (r *reception) run() {
	defer func() { r.conn.Close() }()
	r.reply("220 sink.example.net ESMTP")
	for {
		line, err := r.next()
		switch {
		case err == nil && line == nil:
			if r.flush() != nil || r.fill() != nil {
				return
			}
			continue
		case err == nil:
			err = r.command(line)
		}
		if err != nil {
			r.flush()
			return
		}
	}
}

func (r *reception) reply(line string) {
	r.out = append(r.out, line...)
	r.out = append(r.out, "\r\n"...)
}

// flush writes the replies to all that has been read, at once.
func (r *reception) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.conn.Write(r.out)
	r.out = r.out[:0]
	return err
}

// command answers a line; an error ends the session.
func (r *reception) command(line []byte) error {
	verb, _, _ := bytes.Cut(line, []byte(" "))
	before := r.envelope
	switch string(verb) {
	case "EHLO":
		r.out = append(r.out, "250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SIZE\r\n"...)
		if r.secure != nil {
			r.reply("250-STARTTLS")
		}
		r.reply("250 ENHANCEDSTATUSCODES")
	case "HELO":
		r.reply("250 sink.example.net")
	case "NOOP":
		r.reply("250 2.0.0 ok")
	case "RSET":
		r.envelope = 0
		r.reply("250 2.0.0 ok")
	case "STARTTLS":
		return r.startTLS()
	case "MAIL":
		r.step(before == 0, 1)
	case "RCPT":
		r.step(before > 0, 2)
	case "DATA":
		if before != 2 {
			r.reply("503 5.5.1 no recipients")
			return nil
		}
		return r.data()
	case "BDAT":
		return r.chunk(line)
	case "QUIT":
		r.reply("221 2.0.0 bye")
		return io.EOF
	default:
		r.reply("500 5.5.2 what is that?")
	}
	return nil
}

// step takes a command of the envelope in its turn.
func (r *reception) step(inTurn bool, envelope int) {
	if !inTurn {
		r.reply("503 5.5.1 not now")
		return
	}
	r.envelope = envelope
	r.reply("250 2.1.0 ok")
}

func (r *reception) startTLS() error {
	if r.secure == nil || len(r.buffered()) > 0 {
		return errors.New("no STARTTLS here")
	}
	r.reply("220 2.0.0 go ahead")
	if err := r.flush(); err != nil {
		return err
	}
	r.conn, r.secure = tls.Server(r.conn, r.secure), nil
	return nil
}

const largeBuffer = 256 * kib

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

var endOfMessage = []byte("\r\n.\r\n")

// data reads a message to its final dot. The last octets of each piece are kept in
// front of the next one, so that an end that is cut in two is seen too.
func (r *reception) data() error {
	r.reply("354 go ahead")
	if err := r.flush(); err != nil {
		return err
	}
	const front = 64 // aligned, for the kernel copies faster so
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	kept := front - copy(buf[front-2:], "\r\n") // the first line may be the dot
	have := front + copy(buf[front:], r.buffered())
	r.r, r.w = 0, 0
	var octets int64
	var sum uint32
	for {
		if found := bytes.Index(buf[kept:have], endOfMessage); found >= 0 {
			end := kept + found + len(endOfMessage)
			sum = crc32.Update(sum, castagnoli, buf[front:end])
			r.w = copy(r.buf[:], buf[end:have])
			if r.w < have-end {
				return errLongLine
			}
			r.taken(octets+int64(end-front), sum)
			return nil
		}
		sum = crc32.Update(sum, castagnoli, buf[front:have])
		octets += int64(have - front)
		last := buf[max(kept, have-len(endOfMessage)+1):have]
		kept = front - copy(buf[front-len(last):], last)
		n, err := r.conn.Read(buf[front:])
		if n == 0 {
			return fmt.Errorf("after %d octets of a message: %w", octets, err)
		}
		have = front + n
	}
}

// chunk reads a whole message that comes by BDAT.
func (r *reception) chunk(line []byte) error {
	fields := bytes.Fields(line)
	if r.envelope != 2 || len(fields) != 3 || string(fields[2]) != "LAST" {
		return fmt.Errorf("%q: want an envelope, and all of the message", line)
	}
	size, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return err
	}
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	n := int(min(size, int64(len(r.buffered()))))
	sum := crc32.Update(0, castagnoli, r.buffered()[:n])
	r.r += n
	for rest := size - int64(n); rest > 0; rest -= int64(n) {
		if n, err = r.conn.Read(buf[:min(rest, largeBuffer)]); n == 0 {
			return fmt.Errorf("%d octets of a chunk are missing: %w", rest, err)
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
	}
	r.taken(size, sum)
	return nil
}

func (r *reception) taken(octets int64, sum uint32) {
	r.sink.take(octets, sum)
	r.envelope = 0
	r.reply("250 2.0.0 taken")
}

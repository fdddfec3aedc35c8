package smtptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A Step is one thing that a scripted peer does, such as to write or to expect a line.
// [Play] performs steps.
type Step struct {
	name string
	do   func(*wire) error
}

// Say returns a step that writes lines, each with its CRLF, in one write.
func Say(lines ...string) Step {
	return Step{fmt.Sprintf("saying %q", lines), func(w *wire) error { return w.say(lines...) }}
}

// Send returns a step that writes octets as they are.
func Send(octets string) Step {
	return Step{fmt.Sprintf("sending %q", cut(octets)), func(w *wire) error { return w.send([]byte(octets)) }}
}

// Expect returns a step that reads one line for each of lines, and fails if one
// differs. lines have no CRLF.
func Expect(lines ...string) Step {
	return Step{fmt.Sprintf("expecting %q", lines), func(w *wire) error {
		for _, want := range lines {
			got, err := w.hear()
			if err != nil {
				return fmt.Errorf("waiting for %q: %w", want, err)
			}
			if got != want {
				return fmt.Errorf("heard %q, not %q", got, want)
			}
		}
		return nil
	}}
}

// ExpectOctets returns a step that reads len(octets) octets, and fails if they differ
// from octets.
func ExpectOctets(octets string) Step {
	return Step{fmt.Sprintf("expecting the octets %q", cut(octets)), func(w *wire) error {
		w.conn.SetReadDeadline(time.Now().Add(w.timeout))
		got := make([]byte, len(octets))
		n, err := io.ReadFull(w.r, got)
		if err != nil {
			return fmt.Errorf("after %q: %w", cut(string(got[:n])), err)
		}
		if string(got) != octets {
			return fmt.Errorf("got %q", cut(string(got)))
		}
		return nil
	}}
}

// ExpectEnd returns a step that waits for the peer to hang up. The step fails if the
// peer sends anything, or does not hang up within the timeout of Play.
func ExpectEnd() Step {
	return Step{"expecting the end", func(w *wire) error {
		w.conn.SetReadDeadline(time.Now().Add(w.timeout))
		got, err := w.r.Peek(1)
		if len(got) > 0 {
			got, _ = w.r.Peek(w.r.Buffered())
			return fmt.Errorf("got %q", cut(string(got)))
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return err
		}
		return nil
	}}
}

// Pause returns a step that calls wait, and ends when wait returns.
func Pause(wait func()) Step {
	return Step{"pausing", func(*wire) error { wait(); return nil }}
}

// ServerTLS returns a step that performs a TLS handshake as the server, with config.
// The steps after it are inside TLS. The step fails if the handshake fails, or if
// octets that were received before the handshake are still unread.
func ServerTLS(config *tls.Config) Step {
	return Step{"TLS as the server", func(w *wire) error { return handshake(w, tls.Server(w.conn, config)) }}
}

// ClientTLS returns a step that performs a TLS handshake as the client, with config.
// The steps after it are inside TLS. The step fails if the handshake fails, or if
// octets that were received before the handshake are still unread.
func ClientTLS(config *tls.Config) Step {
	return Step{"TLS as the client", func(w *wire) error { return handshake(w, tls.Client(w.conn, config)) }}
}

func handshake(w *wire, conn *tls.Conn) error {
	if err := w.change(conn, "TLS"); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(w.timeout))
	return conn.Handshake()
}

// Close returns a step that closes the connection.
func Close() Step {
	return Step{"closing", func(w *wire) error { return w.conn.Close() }}
}

// Play performs steps in order over conn. If a step fails, Play stops and returns an
// error with the number of that step, from 1. After the last step it returns nil.
// timeout limits each read and write. Play does not close conn: the step [Close] does.
func Play(conn net.Conn, timeout time.Duration, steps ...Step) error {
	w := newWire(conn, timeout, "C")
	for i, step := range steps {
		if err := step.do(w); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.name, err)
		}
	}
	return nil
}

// cut shortens s for an error message.
func cut(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// BenchmarkSessions are whole sessions, several at once, with recording and without.
func BenchmarkSessions(b *testing.B) {
	server := benchServer(b)
	for _, how := range []string{"plain", "recorded"} {
		b.Run(how, func(b *testing.B) {
			dir := ""
			if how == "recorded" {
				dir = real.Dir(b) // the writer may be at work still
			}
			var written, lost atomic.Int64
			address := startRecorded(b, server, dir, func(err error) {
				if err != nil {
					lost.Add(1)
				} else {
					written.Add(1)
				}
			})
			b.ReportAllocs()
			b.ResetTimer()
			began := processorTime(b)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := benchSession(address); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
			b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op") // what others do makes no difference to it
			if dir != "" {
				b.ReportMetric(float64(lost.Load()), "lost")
				b.ReportMetric(float64(written.Load()), "written")
			}
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchSession(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 512)
	for _, say := range []string{"", "EHLO client.example.com\r\n", "MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n",
		"Subject: x\r\n\r\ntext\r\n.\r\n", "QUIT\r\n"} {
		if _, err := io.WriteString(conn, say); err != nil {
			return err
		}
		if _, err := r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	return nil
}

// benchServer says yes to everything.
func benchServer(b *testing.B) (address string) {
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go benchAnswers(conn)
		}
	}()
	return l.Addr().String()
}

func benchAnswers(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 512)
	io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
	text := false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case text && !bytes.Equal(line, []byte(".\r\n")):
			continue
		case line[0] == 'D':
			text = true
			io.WriteString(conn, "354 go on\r\n")
			continue
		}
		text = false
		io.WriteString(conn, "250 ok\r\n")
	}
}

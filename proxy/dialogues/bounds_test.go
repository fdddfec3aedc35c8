package dialogues_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/dialogues"
	"smtpshim/proxy/smtptest"
)

// repeated is a file that begins with head and goes on with body until so many octets
// have been read.
type repeated struct {
	head, body []byte
	at         int
	left       int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	from := r.head
	if len(from) == 0 {
		from = r.body[r.at:]
	}
	n := copy(p, from)
	if len(r.head) > 0 {
		r.head = r.head[n:]
	} else {
		r.at = (r.at + n) % len(r.body)
	}
	r.left -= int64(n)
	return n, nil
}

// held is how much memory was in use at most while a file of so many octets was read, as
// far as can be seen at its dialogues.
func held(t *testing.T, r *repeated, octets int64) (most uint64, found int) {
	t.Helper()
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before := stats.HeapAlloc
	r.left = octets
	look := func() {
		runtime.GC()
		runtime.ReadMemStats(&stats)
		most = max(most, stats.HeapAlloc-min(before, stats.HeapAlloc))
	}
	err := dialogues.Read("log", &watched{r, look, octets / 8, octets / 8}, func(*dialogues.Dialogue) error { found++; return nil })
	if err != nil && !errors.Is(err, dialogues.ErrNone) {
		t.Fatal(err)
	}
	return most, found
}

// watched calls look after every so many octets.
type watched struct {
	io.Reader
	look        func()
	every, left int64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.left -= int64(n); w.left <= 0 {
		w.left = w.every
		w.look()
	}
	return n, err
}

// What a file has, and what may be in use while it is read.
const (
	large = 48 << 20
	most  = 16 << 20
)

// block is a block of a pcapng file, of a kind and with these octets.
func block(kind byte, octets ...byte) []byte {
	for len(octets)%4 > 0 {
		octets = append(octets, 0)
	}
	length := binary.LittleEndian.AppendUint32(nil, uint32(12+len(octets)))
	return slices.Concat([]byte{kind, 0, 0, 0}, length, octets, length)
}

// nameRecord says that 192.0.2.1 is "a".
var nameRecord = []byte{1, 0, 6, 0, 192, 0, 2, 1, 'a', 0, 0, 0, 0, 0, 0, 0}

func TestALargeFileIsReadInLittleMemory(t *testing.T) {
	if smtptest.RaceDetected() {
		t.Skip("the race detector keeps a record of memory in memory")
	}
	many := &wire{t: t}
	for port := range 200 {
		c := many.connect(10000 + port)
		c.say(captured)
		if port%4 > 0 {
			c.close()
		}
	}
	pcap := many.pcap()
	open := &wire{t: t} // connections that never end
	for port := range 20000 {
		open.connect(20000 + port).say("S: 220 a\n")
	}
	openPcap := open.pcap()
	long := &wire{t: t} // and of which each says much
	for port := range 4000 {
		c := long.connect(20000 + port)
		c.send(1, "220 a\r\n", nil)
		for range 8 {
			c.send(0, strings.Repeat("NOOP\r\n", 200), nil)
		}
	}
	longPcap := long.pcap()
	section := func() []byte { return (&wire{t: t}).pcapng() }
	for name, f := range map[string]*repeated{
		"many sessions":         {body: []byte(strings.ReplaceAll(delivery, "~ message N bytes\n", "C: text\nC: .\n"))},
		"one line":              {body: bytes.Repeat([]byte("x"), 1<<16)},
		"one session":           {head: []byte("S: 220 a\nC: EHLO b\n"), body: []byte("S: 250-a\nC: NOOP\n")},
		"one message":           {head: []byte("S: 220 a\nC: DATA\nS: 354 go on\n"), body: []byte("C: a line of a message that never ends\n")},
		"JavaMail":              {head: []byte("DEBUG SMTP: trying to connect to host \"a\", port 25, isSSL false\n220 a\nDATA\n354 go on\n"), body: []byte("DEBUG SMTP: a line of a message\n")},
		"IIS, one session":      {head: []byte("#Fields: c-ip cs-method cs-uri-query sc-status\n"), body: []byte("192.0.2.7 EHLO +a 250\n")},
		"IIS, messages":         {head: []byte("#Fields: c-ip cs-method cs-uri-query sc-status\n"), body: []byte("192.0.2.7 EHLO +a 250\n192.0.2.7 MAIL +FROM:<a@example.com> 250\n192.0.2.7 DATA +<x> 250\n")},
		"IIS, columns":          {body: []byte("#Fields: cs-method " + strings.Repeat("x ", 8000) + "\nEHLO " + strings.Repeat("1 ", 8000) + "\n")},
		"texts":                 {body: []byte("S: 220 a\nC: DATA\nS: 354 go on\n" + strings.Repeat("C: "+strings.Repeat("x", 1000)+"\n", 1000) + "C: .\nS: 250 ok\nC: QUIT\nS: 221 a\n")},
		"sessions of a server":  {body: []byte("Nov 29 17:18:32 mail postfix/smtpd[1]: > a[192.0.2.7]: 220 mail.example.com\nNov 29 17:18:32 mail postfix/smtpd[1]: disconnect from a[192.0.2.7]\n")},
		"a capture":             {head: pcap[:24], body: pcap[24:]},
		"open connections":      {head: openPcap[:24], body: openPcap[24:]},
		"long open connections": {head: longPcap[:24], body: longPcap[24:]},
		"interfaces":            {head: section(), body: block(1, 1, 0, 0, 0, 0, 0, 0, 0)},
		"names":                 {head: section(), body: block(4, nameRecord...)},
	} {
		t.Run(name, func(t *testing.T) {
			if used, found := held(t, f, large); used > most {
				t.Errorf("%d MiB were in use, want at most %d; %d dialogues", used>>20, most>>20, found)
			} else {
				t.Logf("%d KiB in use at most, %d dialogues", used>>10, found)
			}
		})
	}
}

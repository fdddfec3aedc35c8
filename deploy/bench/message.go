//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// A text is what a message is made of.
type text int

const (
	base64Text text = iota // no full stops
	prose                  // two or three full stops a line, some lines begin with one
	strayProse             // the same, sent with bare LFs
)

// A message is ready to be sent, and says what the sink has to see of it.
type message struct {
	data  []byte // for DATA, to the final dot
	chunk []byte // for BDAT, command and text
	seen  tally  // of one at the sink
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newMessage makes the message of a workload, always the same one.
func newMessage(w *workload) *message {
	var lines []byte
	random := rand.New(rand.NewPCG(5321, 5322))
	if w.text == base64Text {
		lines = base64Lines(random, w.size)
	} else {
		lines = proseLines(random, w.size)
	}
	lines = append([]byte("From: <a@example.com>\nTo: <b@example.net>\nSubject: a message\n\n"), lines...)
	onWire := stuffed(lines)
	m := &message{data: onWire}
	switch {
	case w.chunked:
		content := bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n"))
		m.chunk = append(fmt.Appendf(nil, "BDAT %d LAST\r\n", len(content)), content...)
		onWire = content
	case w.text == strayProse:
		// As from a client that knows no CRLF, but for the message's end, which has to
		// be one that everybody sees. A full stop behind a bare LF begins no line, so
		// nobody stuffs it.
		m.data = append(bytes.Clone(lines[:len(lines)-1]), "\r\n.\r\n"...)
	}
	m.seen = tally{Messages: 1, Octets: int64(len(onWire)), Sum: uint64(crc32.Checksum(onWire, castagnoli))}
	return m
}

// stuffed gives lines that end in LF the form of RFC 5321, 4.5.2.
func stuffed(lines []byte) []byte {
	b := make([]byte, 0, len(lines)+len(lines)/25+5)
	for line := range bytes.Lines(lines) {
		if line[0] == '.' {
			b = append(b, '.')
		}
		b = append(b, line[:len(line)-1]...)
		b = append(b, "\r\n"...)
	}
	return append(b, ".\r\n"...)
}

// base64Lines makes about so many octets of lines of 76 characters.
func base64Lines(random *rand.Rand, size int) []byte {
	b := make([]byte, 0, size+100)
	var raw [57]byte // 76 characters
	for len(b) < size-77 {
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		b = base64.StdEncoding.AppendEncode(b, raw[:])
		b = append(b, '\n')
	}
	return b
}

var words = []string{"mail", "is", "carried", "from", "one", "host", "to", "another", "and", "nobody", "knows", "how", "long", "it", "takes"}

// proseLines makes about so many octets of lines of some 70 characters.
func proseLines(random *rand.Rand, size int) []byte {
	b := make([]byte, 0, size+100)
	for line := 0; len(b) < size-77; line++ {
		if line%50 == 49 {
			b = append(b, '.')
		}
		for start, n := len(b), 1; len(b)-start < 65; n++ {
			b = append(b, words[random.IntN(len(words))]...)
			if n%6 == 0 {
				b = append(b, '.')
			}
			b = append(b, ' ')
		}
		b[len(b)-1] = '\n'
	}
	return b
}

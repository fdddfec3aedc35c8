// Package dialogues reads SMTP dialogues out of files: transcripts and recordings of
// smtpshim, what swaks, curl, msmtp, Python's smtplib, JavaMail and sendmail print, logs of
// Postfix, Exim, Exchange and IIS, and captures of packets (pcap and pcapng) of sessions in clear.
//
// A file of any size is read in bounded memory, and what is wrong in it is left out. What
// is longer than a dialogue may be is cut off.
package dialogues

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"smtpshim/rewrite/transcript"
)

// A Dialogue is one that a file has. Its Rules, Options and Settings are those of a
// transcript; a dialogue of another program has none but the client's address, where
// that is known, and client_tls and server_tls where it goes on inside TLS.
type Dialogue struct {
	transcript.File
	Source Source
	Name   string // in the file, for people: of whom it is, or at which line it begins; "" of a transcript
	Places []int  // the lines of the file, from 1 on, that the lines of the dialogue are from; nil of a transcript or a capture

	// Texts are the messages of which the file has the text, by the place of their event in
	// the lines of the dialogue. They are as they were on the wire, with the line that ends them.
	Texts map[int]string

	// InTLS says that the dialogue is what was said inside TLS, behind the greeting. What
	// was said in clear before is left out.
	InTLS bool
	// Greeted says that the file has the greeting. Else one of ours stands for it.
	Greeted bool
	// Cut says that the rest of a dialogue that is too long was left out.
	Cut bool
}

// A Source is the kind of a file or of a part of it.
type Source string

// The sources.
const (
	Transcript Source = "transcript" // or a recording
	Swaks      Source = "swaks"
	Curl       Source = "curl"
	Msmtp      Source = "msmtp"
	Python     Source = "smtplib"
	Sendmail   Source = "sendmail"
	Postfix    Source = "Postfix"
	Exim       Source = "Exim"
	Exchange   Source = "Exchange"
	IIS        Source = "IIS"
	JavaMail   Source = "JavaMail"
	Capture    Source = "capture"
	Plain      Source = "text" // lines that begin with C: and S:
)

// What a file may take.
const (
	maxTranscript = 1 << 20   // octets of a transcript
	maxDialogue   = 128 << 10 // octets of the lines of another dialogue, and lineCosts for each
	lineCosts     = 64
	maxLine       = 16 << 10 // octets of a line; what is longer is cut off
	maxOpen       = 256      // dialogues that are read at the same time
	maxTexts      = 4 << 20  // octets of their messages; the text of others is not kept
)

// ErrNone is why a file can be read and has no dialogue.
var ErrNone = errors.New("no dialogue was found; there may be a transcript or a recording of smtpshim, the output of swaks, curl -v, " +
	"msmtp -d, sendmail -v, Python's smtplib or JavaMail (mail.debug), a log of Postfix (debug_peer_list), Exim (-v), Exchange (protocol log) or IIS (W3C), " +
	"or a capture (pcap, pcapng) of sessions in clear")

// Read calls then with each dialogue of a file, in the order in which they end. An error
// of then ends it. name is the file's, for errors; the file may be compressed by gzip.
func Read(name string, r io.Reader, then func(*Dialogue) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if start, _ := in.Peek(2); bytes.Equal(start, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		in = bufio.NewReaderSize(unpacked, 64<<10)
	}
	found := 0
	count := func(d *Dialogue) error {
		found++
		return then(d)
	}
	start, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case isCapture(start):
		err = readCapture(in, count)
	case isTranscript(in):
		return readTranscript(name, in, then)
	default:
		err = readLines(in, count)
	}
	if err == nil && found == 0 {
		err = ErrNone
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// isTranscript looks for the heading of a dialogue, as far as a transcript's prose may be
// expected to go.
func isTranscript(in *bufio.Reader) bool {
	start, _ := in.Peek(in.Size())
	return bytes.HasPrefix(start, []byte("-- dialogue --\n")) || bytes.Contains(start, []byte("\n-- dialogue --\n"))
}

func readTranscript(name string, in io.Reader, then func(*Dialogue) error) error {
	data, err := io.ReadAll(io.LimitReader(in, maxTranscript+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxTranscript {
		return fmt.Errorf("%s: a transcript of more than %d MiB; a recording has less", name, maxTranscript>>20)
	}
	f, err := transcript.Parse(name, data)
	if err != nil {
		return err
	}
	return then(&Dialogue{File: *f, Source: Transcript, Greeted: true})
}

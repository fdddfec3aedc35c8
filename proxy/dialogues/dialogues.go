// Package dialogues reads SMTP dialogues from files: transcripts and recordings of
// smtpshim; the output of swaks, curl, msmtp, Python's smtplib, JavaMail and sendmail;
// logs of Postfix, Exim, Exchange and IIS; and packet captures (pcap and pcapng) of
// sessions in clear.
//
// A file of any size is read in bounded memory. In a log, lines that belong to no
// dialogue are skipped. A dialogue that is too long is cut off: see [Dialogue.Cut]. But
// a transcript that is malformed or has more than 1 MiB is an error.
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

// A Dialogue is one dialogue of a file. If the file is a transcript, Rules, Options and
// Settings are what the transcript says. Otherwise Rules and Options are empty, and
// Settings has at most these keys: client, which is the client's address, in a capture;
// and client_tls and server_tls, if InTLS is true.
type Dialogue struct {
	transcript.File
	Source Source

	// Name identifies the dialogue in its file, for people. In a capture it is "CLIENT
	// to SERVER", with addresses and ports. In a log it is "line N", the line at which
	// the dialogue begins. For a transcript it is "".
	Name string

	// Places has, for each element of File.Dialogue, the number of the line of the file
	// that it is from, counted from 1. For a greeting that Read has added, it is the
	// line of the first command. Places is nil for a transcript and for a capture.
	Places []int

	// Texts are the messages whose text is in the file. The key is the index in
	// File.Dialogue of the event that stands for the message, "message N bytes". The
	// value is in wire format, and includes the line "." that ends the message.
	// Messages in chunks (BDAT) are left out. So are messages for which there is no
	// room: all dialogues that are being read share 4 MiB for texts.
	Texts map[int]string

	// InTLS reports that the dialogue is what was said inside TLS. Of what was said in
	// clear before, it has only the greeting.
	InTLS bool
	// Greeted reports whether the dialogue in the file begins with a line of the server,
	// which is taken for its greeting. If it does not, Read adds one. Greeted is true for
	// every transcript.
	Greeted bool
	// Cut reports that the dialogue is too long and its rest was omitted.
	Cut bool
}

// A Source is the program or the format that a dialogue is from.
type Source string

// The sources.
const (
	Transcript Source = "transcript" // a transcript or a recording of smtpshim
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

// The limits for a file.
const (
	maxTranscript = 1 << 20   // octets of a transcript
	maxDialogue   = 128 << 10 // octets of the lines of another dialogue, plus lineCosts for each line
	lineCosts     = 64
	maxLine       = 16 << 10 // octets of a line; a longer line is cut off
	maxOpen       = 256      // dialogues that are read at the same time
	maxTexts      = 4 << 20  // octets of the texts of messages; further texts are not kept
)

// ErrNone is the error for a readable file without a dialogue.
var ErrNone = errors.New("no dialogue was found; there may be a transcript or a recording of smtpshim, the output of swaks, curl -v, " +
	"msmtp -d, sendmail -v, Python's smtplib or JavaMail (mail.debug), a log of Postfix (debug_peer_list), Exim (-v), Exchange (protocol log) or IIS (W3C), " +
	"or a capture (pcap, pcapng) of sessions in clear")

// Read reads the file r, which may be compressed with gzip, and calls handle with each
// dialogue in it, in the order in which the dialogues end. If handle returns an error,
// Read stops and returns an error that wraps it. name is the name of the file, for
// errors. If the file has no dialogue, the error wraps ErrNone.
func Read(name string, r io.Reader, handle func(*Dialogue) error) error {
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
		return handle(d)
	}
	start, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case isCapture(start):
		err = readCapture(in, count)
	case isTranscript(in):
		return readTranscript(name, in, handle)
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

// isTranscript looks for the heading of a dialogue within the length that the prose of a
// transcript may have.
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

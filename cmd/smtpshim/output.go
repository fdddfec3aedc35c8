package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"sync"
)

// An output is the output of a command. It remembers that a write has failed, as on a
// full disk; a reader would take what was written for complete.
type output struct {
	to     io.Writer
	mu     sync.Mutex
	err    error         // the first error
	failed chan struct{} // closed after it
}

func newOutput(to io.Writer) *output { return &output{to: to, failed: make(chan struct{})} }

// Write implements io.Writer. After the first error it writes nothing more and returns
// that error, so that the output has no gaps.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.err = err
		close(o.failed)
	}
	return n, err
}

// status returns the exit status of a command that ended with status ended. Incomplete
// output is a failure.
func (o *output) status(command string, ended int, stderr io.Writer) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return ended
	}
	fmt.Fprintf(stderr, "smtpshim %s: its output is incomplete: %v\n", command, o.err)
	return max(ended, failed)
}

// failedOutput returns a channel that is closed when a write to w has failed; nil if w
// does not report that.
func failedOutput(w io.Writer) <-chan struct{} {
	if o, ok := w.(*output); ok {
		return o.failed
	}
	return nil
}

// An escaper writes control characters, such as those in the name of a file, as Go does
// in quotes, so that a terminal does not obey them. Line ends and tabs stay.
type escaper struct{ to io.Writer }

func (e escaper) Write(p []byte) (int, error) {
	if !controls.Match(p) {
		return e.to.Write(p)
	}
	text := controls.ReplaceAllFunc(p, func(c []byte) []byte {
		quoted := strconv.QuoteToASCII(string(c))
		return []byte(quoted[1 : len(quoted)-1])
	})
	if _, err := e.to.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// controls matches a control character of ASCII or of ISO 8859-1, in UTF-8.
var controls = regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f\x{80}-\x{9f}]`)

// fileOf returns the file that w writes to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.to
	}
	file, ok := w.(*os.File)
	return file, ok
}

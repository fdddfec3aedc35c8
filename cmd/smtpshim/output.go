package main

import (
	"fmt"
	"io"
	"os"
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

// fileOf returns the file that w writes to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.to
	}
	file, ok := w.(*os.File)
	return file, ok
}

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// An output is what a command prints to. It remembers that something could not be
// written, as on a full disk: who reads the file would take the rest for all there is.
type output struct {
	to     io.Writer
	mu     sync.Mutex
	err    error         // the first
	failed chan struct{} // closed then
}

func newOutput(to io.Writer) *output { return &output{to: to, failed: make(chan struct{})} }

// Write is io.Writer's. After an error nothing more is written, so that no line is
// missing between others.
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

// status is the exit status of a command that has ended with one. That its output is
// not whole is a failure.
func (o *output) status(command string, ended int, stderr io.Writer) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return ended
	}
	fmt.Fprintf(stderr, "smtpshim %s: what it printed is not whole: %v\n", command, o.err)
	return max(ended, failed)
}

// failedOutput is closed once something could not be written to w; nil: that is not
// known of w.
func failedOutput(w io.Writer) <-chan struct{} {
	if o, ok := w.(*output); ok {
		return o.failed
	}
	return nil
}

// fileOf is the file that w writes to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.to
	}
	file, ok := w.(*os.File)
	return file, ok
}

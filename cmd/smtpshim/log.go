package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// newLog returns a log that is written to w. In text format for the journal of systemd,
// possibly through a lineQueue, each line begins with its priority and has no time, since
// the journal adds it (sd-daemon(3)).
func newLog(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	_, _ = time.Now().Zone() // read the file of the time zone now and not while mail waits
	to := w
	queue, queued := w.(*lineQueue)
	if queued {
		to = queue.to
	}
	journal := isJournal(to, os.Getenv("JOURNAL_STREAM"))
	if queued {
		queue.tell(func(lines uint64) []byte {
			var line bytes.Buffer
			slog.New(newHandler(&line, format, journal, slog.LevelError)).Error("lines of the log were dropped: nobody read them in time", "lines", lines)
			return line.Bytes()
		})
	}
	return slog.New(newHandler(w, format, journal, level))
}

func newHandler(w io.Writer, format string, journal bool, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	switch {
	case format == "json":
		return slog.NewJSONHandler(w, options)
	case journal:
		return newPrioritized(w, level)
	}
	return slog.NewTextHandler(w, options)
}

// The priorities of syslog(3), each with its lowest level.
var priorities = [...]struct {
	least  slog.Level
	prefix string
}{
	{slog.LevelError, "<3>"},
	{slog.LevelWarn, "<4>"},
	{slog.LevelInfo, "<6>"},
	{slog.LevelDebug, "<7>"},
}

// A prioritized passes each record to the handler for its priority.
type prioritized [len(priorities)]slog.Handler

func newPrioritized(w io.Writer, level slog.Leveler) prioritized {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && groups == nil {
			return slog.Attr{}
		}
		return a
	}}
	var p prioritized
	writing := new(sync.Mutex)
	for i, priority := range priorities {
		p[i] = slog.NewTextHandler(&prefixed{w: w, mu: writing, prefix: priority.prefix}, options)
	}
	return p
}

// Enabled implements slog.Handler.
func (p prioritized) Enabled(ctx context.Context, level slog.Level) bool {
	return p[0].Enabled(ctx, level)
}

// Handle implements slog.Handler. It passes r to the handler for the priority of r.
func (p prioritized) Handle(ctx context.Context, r slog.Record) error {
	for i, priority := range priorities {
		if r.Level >= priority.least {
			return p[i].Handle(ctx, r)
		}
	}
	return p[len(p)-1].Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (p prioritized) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range p {
		p[i] = p[i].WithAttrs(attrs)
	}
	return p
}

// WithGroup implements slog.Handler.
func (p prioritized) WithGroup(name string) slog.Handler {
	for i := range p {
		p[i] = p[i].WithGroup(name)
	}
	return p
}

// A prefixed writes a prefix before each line, in the same write.
type prefixed struct {
	w      io.Writer
	mu     *sync.Mutex // shared by all that write to w
	prefix string
	line   []byte
}

func (p *prefixed) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = append(append(p.line[:0], p.prefix...), line...)
	if _, err := p.w.Write(p.line); err != nil {
		return 0, err
	}
	return len(line), nil
}

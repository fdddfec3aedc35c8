package main

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestTheJournalIsToldPriorities(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newPrioritized(&b, slog.LevelDebug)).With("a", 1)
	log.Debug("d")
	log.Info("i")
	log.WithGroup("g").Warn("w", "time", 2)
	log.Error("two\nlines")
	const want = "<7>level=DEBUG msg=d a=1\n<6>level=INFO msg=i a=1\n<4>level=WARN msg=w a=1 g.time=2\n<3>level=ERROR msg=\"two\\nlines\" a=1\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

package wire

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
)

// newTestLoops are loops that serve nobody, and their log.
func newTestLoops(t *testing.T, log io.Writer) *Loops {
	t.Helper()
	logger, done := slog.New(slog.NewTextHandler(log, nil)), make(chan struct{})
	ls := NewLoops(Config{
		Logger: func() *slog.Logger { return logger },
		Defect: func(d *Defect, doing string) {
			logger.Error("a defect", "while", doing, "panic", d.Value, "stack", d.Stack)
		},
		Arriving: new(sync.WaitGroup), Done: done, Now: time.Now,
	})
	t.Cleanup(func() {
		ls.Close()
		close(done)
	})
	return ls
}

func TestAWorkerSurvivesAPanic(t *testing.T) {
	log := new(smtptest.Log)
	ls := newTestLoops(t, log)
	done := make(chan struct{})
	ls.workers.do(func() {
		defer close(done)
		panic("boom")
	})
	<-done
	again := make(chan struct{})
	ls.workers.do(func() { close(again) })
	<-again
}

func TestWhoCannotAcceptTriesAgainAfterAWhileThatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := &Listener{loops: newTestLoops(t, &log)}
		began := time.Now()
		for _, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
			if pause := l.failed(&net.TCPAddr{}, syscall.EMFILE); pause != want*time.Millisecond {
				t.Errorf("a pause of %v; want %v ms", pause, int(want))
			}
			time.Sleep(want * time.Millisecond)
		}
		told := strings.Count(log.String(), "accepting a connection")
		if most := int(time.Since(began)/time.Second) + 1; told < 2 || told > most {
			t.Errorf("%d lines in the log, of %v", told, time.Since(began))
		}
		l.accepted()
		l.loops.config.Arriving.Done()
		if pause := l.failed(&net.TCPAddr{}, syscall.EMFILE); pause != 5*time.Millisecond {
			t.Errorf("a pause of %v after a success", pause)
		}
	})
}

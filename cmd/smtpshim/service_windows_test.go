package main

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/windows/svc"
)

func TestTheServiceManagersRequestsAreSignals(t *testing.T) {
	heard := make(chan os.Signal)
	s := &service{log: io.Discard, serve: func(signals <-chan os.Signal, _ io.Writer) int {
		for sig := range signals {
			heard <- sig
			if sig == syscall.SIGTERM {
				return failed
			}
		}
		return succeeded
	}}
	requests, states := make(chan svc.ChangeRequest), make(chan svc.Status, 10)
	type result struct {
		specific bool
		exit     uint32
	}
	ended := make(chan result)
	go func() {
		specific, exit := s.Execute(nil, requests, states)
		ended <- result{specific, exit}
	}()
	if got := <-states; got.State != svc.Running || got.Accepts != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptParamChange {
		t.Errorf("at first %+v", got)
	}
	requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running, CheckPoint: 7}}
	if got := <-states; got.CheckPoint != 7 {
		t.Errorf("asked how it is: %+v", got)
	}
	requests <- svc.ChangeRequest{Cmd: svc.ParamChange}
	if got := <-heard; got != syscall.SIGHUP {
		t.Errorf("ParamChange is %v", got)
	}
	requests <- svc.ChangeRequest{Cmd: svc.Stop}
	if got := <-heard; got != syscall.SIGTERM {
		t.Errorf("Stop is %v", got)
	}
	if got := <-states; got.State != svc.StopPending {
		t.Errorf("when it is to stop: %+v", got)
	}
	if got := <-ended; got != (result{true, failed}) || s.status != failed {
		t.Errorf("ended with %+v, status %d", got, s.status)
	}
}

// An eventList notes events by their kind.
type eventList []string

func (e *eventList) Error(_ uint32, text string) error { *e = append(*e, "error "+text); return nil }
func (e *eventList) Warning(_ uint32, text string) error {
	*e = append(*e, "warning "+text)
	return nil
}
func (e *eventList) Info(_ uint32, text string) error { *e = append(*e, "info "+text); return nil }

func TestTheLogIsEventsOfTheKindThatItsLevelSays(t *testing.T) {
	var list eventList
	w := &events{&list}
	log := newLog(w, "text", slog.LevelDebug)
	log.Debug("d")
	log.Info("i")
	log.Warn("w")
	log.Error("e")
	newLog(w, "json", slog.LevelInfo).Info("j")
	io.WriteString(w, "smtpshim.toml:3: a mistake\n")
	want := []string{"info level=DEBUG msg=d", "info level=INFO msg=i", "warning level=WARN msg=w", "error level=ERROR msg=e"}
	if len(list) != 6 || !slices.Equal(list[:4], want) || list[4][:6] != "info {" || list[5] != "error smtpshim.toml:3: a mistake" {
		t.Errorf("%q", list)
	}
}

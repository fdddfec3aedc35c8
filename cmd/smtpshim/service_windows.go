package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// serviceName is the name of the service, if it is the only one in its process, and the
// source of its events.
const serviceName = "smtpshim"

// asService runs serve as a Windows service, if we were started as one. Requests of the
// service manager become signals, and the event log is the log.
func asService(serve func(<-chan os.Signal, io.Writer) int) (status int, ok bool) {
	if is, err := svc.IsWindowsService(); err != nil || !is {
		return 0, false
	}
	log, err := eventlog.Open(serviceName)
	if err != nil {
		return failed, true // nobody can be told
	}
	defer log.Close()
	s := &service{serve: serve, log: &events{log}}
	if err := svc.Run(serviceName, s); err != nil {
		log.Error(eventID, fmt.Sprintf("running as a service: %v", err))
		return failed, true
	}
	return s.status, true
}

// A service runs serve for the service manager.
type service struct {
	serve  func(<-chan os.Signal, io.Writer) int
	log    io.Writer
	status int // the exit status of serve
}

// Execute implements svc.Handler. It runs s.serve and returns its exit status when it
// ends. It passes Stop and Shutdown to s.serve as SIGTERM, which lets messages in
// transit finish. It passes ParamChange as SIGHUP, which reads the configuration again.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, states chan<- svc.Status) (specific bool, exit uint32) {
	const accepted = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptParamChange
	signals, ended := make(chan os.Signal, 4), make(chan int, 1)
	go func() { ended <- s.serve(signals, s.log) }()
	states <- svc.Status{State: svc.Running, Accepts: accepted}
	for {
		select {
		case s.status = <-ended:
			return true, uint32(s.status)
		case request := <-requests:
			switch request.Cmd {
			case svc.Interrogate:
				states <- request.CurrentStatus
			case svc.ParamChange:
				signals <- syscall.SIGHUP
			case svc.Stop, svc.Shutdown:
				signals <- syscall.SIGTERM
				states <- svc.Status{State: svc.StopPending, Accepts: svc.AcceptStop | svc.AcceptShutdown}
			}
		}
	}
}

// An eventSink accepts events, as an *eventlog.Log does.
type eventSink interface {
	Error(id uint32, text string) error
	Warning(id uint32, text string) error
	Info(id uint32, text string) error
}

// eventID is the ID of all events. Their text says what they are about.
const eventID = 1

// events writes each line as an event of the kind that its priority says. A line without
// a priority is an error or JSON.
type events struct{ sink eventSink }

func (e *events) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	write := e.sink.Error
	for _, kind := range []struct {
		prefix string
		write  func(uint32, string) error
	}{{"<3>", e.sink.Error}, {"<4>", e.sink.Warning}, {"<6>", e.sink.Info}, {"<7>", e.sink.Info}, {"{", e.sink.Info}} {
		if strings.HasPrefix(text, kind.prefix) {
			write = kind.write
			break
		}
	}
	if len(text) > 3 && text[0] == '<' && text[2] == '>' {
		text = text[3:]
	}
	if err := write(eventID, text); err != nil {
		return 0, err
	}
	return len(line), nil
}

// isJournal reports whether w wants priorities instead of the time, as the event log
// does.
func isJournal(w io.Writer, _ string) bool {
	_, ok := w.(*events)
	return ok
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"smtpshim/cmd/smtpshim/internal/words"
)

// A farewell is the end of a process that accepts no new sessions: it ends when drain has
// passed after the process is told to end, or when it is told so twice.
type farewell struct {
	drain      time.Duration
	mu         sync.Mutex // guards signal
	told, over context.Context
	tell       context.CancelFunc
	end        context.CancelCauseFunc
}

func newFarewell(drain time.Duration, signals <-chan os.Signal, log *slog.Logger) *farewell {
	f := &farewell{drain: drain}
	f.told, f.tell = context.WithCancel(context.Background())
	f.over, f.end = context.WithCancelCause(context.Background())
	go func() {
		for f.over.Err() == nil {
			select {
			case <-f.over.Done():
			case sig := <-signals:
				if sig == syscall.SIGHUP || slices.Contains(upgradeSignals, sig) {
					log.Warn("this process accepts no new sessions, and ignores the signal", "signal", sig.String())
				} else {
					f.signal()
				}
			}
		}
	}()
	return f
}

// signal is called each time the process is told to end.
func (f *farewell) signal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told.Err() != nil {
		f.end(errors.New("second signal to end"))
		return
	}
	f.tell()
	time.AfterFunc(f.drain, func() { f.end(fmt.Errorf("drain = %q is over", words.Brief(f.drain))) })
}

// drain asks idle clients to leave, and lets messages in transit finish until the time
// has passed or another signal comes.
func (p *instance) drain(signals <-chan os.Signal) {
	p.ready.Store(false)
	p.notify(daemon.SdNotifyStopping, p.status("draining"))
	f := newFarewell(p.config.Load().Drain, signals, p.log)
	defer f.end(nil)
	p.log.Info("draining", "drain", f.drain.String())
	f.signal()
	p.empty(f)
}

// retire leaves new sessions to the process that has taken over. Running sessions
// continue as before. When drain has passed, idle clients are asked to leave. Nothing is
// cut off unless the process is told to end, or the new process has ended: then this
// process must end for the service manager to start it again. Readiness requests that
// still come are answered as ready.
func (p *instance) retire(signals <-chan os.Signal, next *successor) {
	f := newFarewell(p.config.Load().Drain, signals, p.log)
	defer f.end(nil)
	go func() {
		select {
		case how := <-next.lost():
			if how != nil { // otherwise it was told to end, or has handed over itself
				p.log.Error("the process that took over has ended, and no process accepts new sessions", "err", how)
				f.signal()
			}
		case <-f.over.Done():
		}
	}()
	var admin sync.WaitGroup
	admin.Go(p.closeAdmin)
	ctx, cancel := context.WithTimeout(f.told, f.drain)
	defer cancel()
	err := p.proxy.Retire(ctx)
	admin.Wait()
	if err == nil {
		p.log.Info("stopped")
		return
	}
	p.log.Info("closing idle sessions with 421", "sessions", p.proxy.Sessions())
	p.empty(f)
}

// empty asks idle clients to leave, and waits until there are no sessions.
func (p *instance) empty(f *farewell) {
	if err := p.proxy.Drain(f.over); err != nil {
		p.log.Warn("stopped; sessions that were still under way were closed", "err", context.Cause(f.over))
		return
	}
	p.log.Info("stopped")
}

// lastAnswers is how long the admin listener serves connections that it has accepted.
const lastAnswers = time.Second

// closeAdmin leaves the admin listener to another process. Clients that have connected
// are still served; Shutdown would drop a request that was not read yet. Watchers of
// events are cut off and connect again.
func (p *instance) closeAdmin() {
	if p.adminSocket == nil {
		return
	}
	p.adminSocket.Close()
	p.admin.SetKeepAlivesEnabled(false)
	time.Sleep(lastAnswers)
	p.admin.Close()
}

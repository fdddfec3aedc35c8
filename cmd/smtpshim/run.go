package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/evidence"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/proxy/tlspolicy"
)

func runProxy(args []string, _, stderr io.Writer) int {
	f := flags("run", "[-config FILE]", "Runs the proxy. SIGHUP reads the configuration again; SIGUSR2 starts the program "+
		"again from the disk, and passes new sessions to it; SIGTERM and SIGINT let "+
		"messages under way finish, and a second one closes them. The log goes to stderr.", stderr)
	path := f.String("config", configFile, configHelp)
	if status, ok := parse(f, args, 0); !ok {
		return status
	}
	tune()
	signal.Ignore(syscall.SIGPIPE) // the end of the log's reader must not end the program
	if status, ok := asService(func(signals <-chan os.Signal, log io.Writer) int { return serve(*path, signals, log, lockIn) }); ok {
		return status
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, append(slices.Clone(upgradeSignals), syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)...)
	defer signal.Stop(signals)
	return serve(*path, signals, stderr, lockIn)
}

// serve runs the proxy, locked in by lock, until a signal ends it, and returns the exit
// status.
func serve(path string, signals <-chan os.Signal, stderr io.Writer, lock func(enclosure) (int, error)) int {
	lines := newLineQueue(stderr)
	defer lines.Close()
	defer log.SetOutput(log.Writer())
	log.SetOutput(lines) // other packages write to it
	c, err := config.Read(path, tlspolicy.SelfSigned)
	if err != nil {
		fmt.Fprintln(escaper{lines}, err)
		return failed
	}
	p := newInstance(path, c, lines)
	defer p.writer.Close()
	defer func() { p.accounts.closeNow() }()
	defer p.proxy.Close()
	var before *predecessor
	taken := portsTaken(c) // before the lock, which hides other processes' sockets
	if err = makeStateDir(c); err == nil {
		err = p.lockIn(lock)
	}
	if err == nil {
		before, err = p.inherit()
	}
	if err == nil {
		err = p.listenAdmin()
	}
	if err == nil {
		defer p.admin.Close()
		err = p.apply(c)
	}
	if err != nil {
		p.log.Error("not started", "err", taken.explain(err))
		return failed
	}
	p.settle()
	p.ready.Store(true)
	p.serveAdmin()
	before.relieve()
	p.notify(daemon.SdNotifyReady, p.status("serving"))
	p.log.Info("started", "version", buildVersion(), "go", runtime.Version(), "config", path)
	p.follow(signals)
	return succeeded
}

// follow handles signals until one ends the process.
func (p *instance) follow(signals <-chan os.Signal) {
	living, end := context.WithCancel(context.Background())
	defer end()
	go p.watch(living)
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	var upgraded <-chan upgrade // nil unless a new process is being started
	again := false              // whoever continues must read the configuration again
	for {
		select {
		case <-day.C: // for certificates, and allowances until a day
			p.warn()
		case u := <-upgraded:
			if upgraded = nil; u.err != nil {
				p.log.Error("not upgraded; this process goes on", "err", u.err)
				if again {
					again = false
					p.reload()
				}
				continue
			}
			end()
			p.handOver(u.next, again)
			p.retire(signals, u.next)
			return
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP && upgraded != nil:
				again = true // the new process may have read it before the change
			case sig == syscall.SIGHUP:
				p.reload()
			case slices.Contains(upgradeSignals, sig):
				if upgraded == nil {
					upgraded = p.upgrade(living)
				}
			default:
				end()
				if upgraded != nil {
					if u := <-upgraded; u.err == nil {
						u.next.end()
					}
				}
				p.drain(signals)
				return
			}
		}
	}
}

// An instance is the running program.
type instance struct {
	path      string
	enclosure enclosure                     // nil: not locked in
	started   *config.Config                // the configuration at the start: its values hold for what needs a restart
	config    atomic.Pointer[config.Config] // the present configuration
	level     *slog.LevelVar
	log       *slog.Logger
	gather    prometheus.Gatherer
	metrics   *metrics.Metrics
	proxy     proxy.Proxy
	ready     atomic.Bool           // new sessions are accepted
	stale     atomic.Pointer[stale] // nil: the present configuration is that of the file

	admin       *http.Server
	adminSocket net.Listener // nil: there is no admin listener

	accounts accounts
	logins   *metrics.Logins

	evidence   evidence.Book
	journal    *journal.Journal
	writer     *record.Writer
	recordings *metrics.Recordings
}

// The limits of the journal: sessions, and octets of them.
const (
	journalSessions = 200
	journalOctets   = 4 << 20
)

func newInstance(path string, c *config.Config, stderr io.Writer) *instance {
	registry := prometheus.NewRegistry()
	p := &instance{path: path, started: c, level: new(slog.LevelVar), gather: registry,
		metrics: metrics.New(registry, buildVersion()), journal: journal.New(journalSessions, journalOctets)}
	p.config.Store(c)
	registry.MustRegister(metrics.CertificateExpiry(func() []metrics.Certificate { return certificatesOf(p.config.Load()) }), metrics.Servers(p.servers),
		metrics.InForce(p.inForce), metrics.LoopTurnsHeld(p.proxy.TurnsHeld), metrics.LogLinesDropped(func() uint64 {
			if lines, ok := stderr.(*lineQueue); ok {
				return lines.Dropped()
			}
			return 0
		}))
	p.level.Set(c.Level)
	p.log = newLog(stderr, c.Format, p.level)
	p.proxy.Logger = p.log
	p.recordings = metrics.NewRecordings(registry)
	p.logins = metrics.NewLogins(registry)
	registry.MustRegister(metrics.AccountCertificateExpiry(func() []metrics.AccountCertificate { return accountCertificates(p.config.Load()) }))
	lost := &losses{log: p.log, counts: p.recordings, said: map[string]time.Time{}}
	p.writer = record.Start(lost.recorded)
	return p
}

// adminPrefix precedes the address of the admin listener in the names of sockets that
// were passed to us.
const adminPrefix = "admin:"

// listenAdmin opens the admin listener if the configuration has one.
func (p *instance) listenAdmin() error {
	p.admin = metrics.Admin(p.gather, p.readyz, p.config.Load().Profiles)
	p.admin.ErrorLog = slog.NewLogLogger(p.log.Handler(), slog.LevelWarn)
	p.addPage(p.admin)
	listen := p.config.Load().Admin
	if listen == "" {
		return nil
	}
	var err error
	if files := p.proxy.Inherited[adminPrefix+listen]; len(files) > 0 {
		p.adminSocket, err = net.FileListener(files[0])
	} else {
		p.adminSocket, err = net.Listen("tcp", listen)
	}
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}

// serveAdmin serves the admin listener.
func (p *instance) serveAdmin() {
	if p.adminSocket == nil {
		return
	}
	p.log.Info("admin", "listen", p.adminSocket.Addr().String())
	go func() {
		if err := p.admin.Serve(p.adminSocket); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			p.log.Error("admin listener closed", "err", err)
		}
	}()
}

// apply puts a configuration in force. If it fails, nothing changes.
func (p *instance) apply(c *config.Config) error {
	if err := p.checkInherited(c); err != nil {
		return err
	}
	accounts, err := p.accounts.accountsOf(c, p.log, p.logins)
	if err != nil {
		return err
	}
	var routes []*proxy.Route
	for _, r := range c.Routes {
		logins, err := loginsWith(r, accounts, p.log)
		if err != nil {
			accounts.close(p.accounts)
			return err
		}
		if logins != nil {
			r.Logins = logins
		}
		counts := p.metrics.Route(r.Name, r.Rules.Names(), possibleTLS(r), countedProducts(r.Computed())...)
		counts.Observes(r.Observed.Names())
		heard := &observed{p.journal, p.writer, r.Record, r.Setup(), p.evidenceOf(r)}
		r.Observer, r.Dialogue, r.Ended = counts, heard.Dialogue, heard.Ended
		p.watchCertificates(r, counts)
		routes = append(routes, r.Route)
	}
	p.logins.InForce(countedAccounts(c))
	if err := p.proxy.Apply(routes); err != nil {
		p.logins.InForce(countedAccounts(p.config.Load()))
		accounts.close(p.accounts)
		return err
	}
	p.accounts.close(accounts)
	p.accounts = accounts
	accounts.prefetch()
	p.config.Store(c)
	p.evidence.Observe(observing(c)...)
	p.level.Set(c.Level)
	for _, r := range c.Routes {
		if r.Record != nil {
			p.recordings.Route(r.Name)
			p.writer.Tend(r.Record)
		}
		attrs := []any{"route", r.Name,
			"listen", strings.Join(r.Listen, ","), "servers", strings.Join(r.Servers, ","),
			"client_tls", r.ClientTLS.Mode.String(), "server_tls", r.ServerTLS.Mode.String(),
			"rules", strings.Join(r.Rules.Names(), ",")}
		if observed := r.Observed.Names(); len(observed) > 0 {
			attrs = append(attrs, "observes", strings.Join(observed, ","))
		}
		p.log.Info("route", attrs...)
	}
	p.warn()
	return nil
}

// warn logs possible mistakes, and what will become one with time.
func (p *instance) warn() {
	c := p.config.Load()
	for _, r := range c.Routes {
		for _, warning := range r.Warnings(time.Now()) {
			p.log.Warn(warning, "route", r.Name)
		}
	}
	for _, a := range c.Accounts {
		for _, warning := range c.AccountWarnings(a, time.Now()) {
			p.log.Warn(warning, "account", a.Name)
		}
	}
}

// watchCertificates logs and counts changes of certificate files.
func (p *instance) watchCertificates(r *config.Route, counts *metrics.Route) {
	for _, s := range storesOf(r) {
		s.store.Reloaded = func(err error) {
			counts.CertificateReloaded(err)
			if err != nil {
				p.log.Error("certificate not reloaded", "route", r.Name, "side", s.side, "err", err.Error()+p.enclosure.hint(err))
				return
			}
			p.log.Info("certificate reloaded", "route", r.Name, "side", s.side)
		}
	}
}

// reload reads the configuration again and tells the service manager. If the file has
// mistakes, nothing changes.
func (p *instance) reload() {
	p.notify(reloading())
	defer func() { p.notify(daemon.SdNotifyReady, p.status("serving")) }()
	c, err := config.Read(p.path, tlspolicy.SelfSigned)
	if err == nil {
		err = p.apply(c)
	}
	p.metrics.Reloaded(err)
	p.stale.Store(nil)
	if err != nil {
		p.stale.Store(staleAfter(p.path, err))
		if list, ok := errors.AsType[config.Mistakes](err); ok {
			for _, m := range list {
				p.log.Error("mistake in the configuration", "file", m.File, "line", m.Line, "key", m.Key, "err", m.Text+p.enclosure.hint(m))
			}
		} else {
			p.log.Error("configuration", "err", err.Error()+p.enclosure.hint(err))
		}
		p.log.Error("not reloaded; the configuration in force stays", "config", p.path)
		return
	}
	for _, key := range needRestart(p.started, c) {
		p.log.Warn("changed in the file; takes effect when the program is started again", "key", key)
	}
	p.log.Info("reloaded", "config", p.path)
}

// needRestart returns the keys that c changes and that take effect only after a restart.
func needRestart(started, c *config.Config) []string {
	var keys []string
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"admin.listen", c.Admin != started.Admin},
		{"admin.pprof", c.Profiles != started.Profiles},
		{"admin.password_hash", !reflect.DeepEqual(c.Password, started.Password)},
		{"log.format", c.Format != started.Format},
		{"lock_in", c.LockIn != started.LockIn},
	} {
		if k.changed {
			keys = append(keys, k.key)
		}
	}
	return keys
}

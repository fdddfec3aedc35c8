package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/tlspolicy"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// serveEach is a server on loopback: each of its connections is served on a goroutine of its
// own, and closed.
func serveEach(t testing.TB, each func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				each(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// mailServer is a server that says yes to everything, on loopback.
func mailServer(t *testing.T) (address string) {
	t.Helper()
	return serveEach(t, func(conn net.Conn) {
		fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "DATA") {
				fmt.Fprint(conn, "354 go on\r\n")
			} else {
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	})
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", smtptest.Loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// mendsEveryName has a rule act before any server.
const mendsEveryName = "options.fix-hello-name.when = \"always\"\n"

// A running is serve under way.
type running struct {
	t       *testing.T
	path    string
	admin   string
	signals chan os.Signal
	log     chan string
	status  chan int
	route   string // what its route has besides

}

func (r *running) configure(listen, server, more string) {
	r.t.Helper()
	write(r.t, r.path, fmt.Sprintf("drain = \"1h\"\nadmin.listen = %q\n%s\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\n%s",
		r.admin, more, listen, server, r.route))
}

// start runs serve on a configuration that listens and passes on to server.
func start(t *testing.T, listen, server string) *running {
	t.Helper()
	return startRoute(t, listen, server, "")
}

// startRoute is start with more in the route's table.
func startRoute(t *testing.T, listen, server, route string) *running {
	t.Helper()
	r := &running{t: t, route: route, path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t)}
	r.configure(listen, server, "")
	r.serve()
	return r
}

// serve begins to serve, as the file says.
func (r *running) serve() {
	r.t.Helper()
	r.signals, r.log, r.status = make(chan os.Signal, 4), make(chan string, 1000), make(chan int, 1)
	read, write := io.Pipe()
	go func() {
		for lines := bufio.NewScanner(read); lines.Scan(); {
			r.log <- lines.Text()
		}
	}()
	go func() { r.status <- serve(r.path, r.signals, write, atLarge) }()
	r.t.Cleanup(func() {
		for r.t.Failed() && len(r.log) > 0 {
			r.t.Log(<-r.log)
		}
		close(r.signals)
		write.Close()
	})
	r.logged("msg=started")
}

// reloaded has it read the file again.
func (r *running) reloaded() {
	r.t.Helper()
	r.signals <- syscall.SIGHUP
	r.logged("msg=reloaded")
}

// logged waits for a line of the log, and gives those before it.
func (r *running) logged(what string) (seen []string) {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-r.log:
			if strings.Contains(line, what) {
				return seen
			}
			seen = append(seen, line)
		case <-timeout:
			r.t.Fatalf("%q was not logged, but\n%s", what, strings.Join(seen, "\n"))
			return nil
		}
	}
}

func (r *running) ended() (status int) {
	r.t.Helper()
	select {
	case status = <-r.status:
	case <-time.After(patience):
		r.t.Fatal("it does not end")
	}
	return status
}

// get asks the admin listener.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	resp, err := http.Get("http://" + r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// counts waits for a line of the metrics.
func (r *running) counts(line string) {
	r.t.Helper()
	for late := time.Now().Add(patience); ; {
		_, metrics := r.get("/metrics")
		switch {
		case strings.Contains(metrics, line+"\n"):
			return
		case time.Now().After(late):
			r.t.Fatalf("%s is not among the metrics:\n%s", line, metrics)
		}
	}
}

// connect connects to address and hears the greeting.
func connect(t *testing.T, address string) (say func(line, want string)) {
	t.Helper()
	return connectTo(t, address, "220 mail.example.com")
}

// connectTo connects to a server that greets like this.
func connectTo(t *testing.T, address, greeting string) (say func(line, want string)) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	say = func(line, want string) {
		t.Helper()
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		if got, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%q was answered with %q, %v; want %q", line, got, err, want)
		}
	}
	say("", greeting)
	return say
}

func TestRunServesUntilItIsToldToEnd(t *testing.T) {
	address := freeAddress(t)
	r := start(t, address, mailServer(t))
	if status, _ := r.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	say := connect(t, address)
	say("HELO client.example.com", "250")
	say("MAIL FROM:<a@example.com>", "250")
	if _, body := r.get("/metrics"); !strings.Contains(body, `smtpshim_sessions_active{route="in"} 1`) ||
		!strings.Contains(body, `smtpshim_commands_total{route="in",verb="mail"} 1`) ||
		!strings.Contains(body, "smtpshim_build_info{") {
		t.Errorf("the session is not counted:\n%s", body)
	}
	say("RSET", "250")
	r.signals <- syscall.SIGTERM
	if status := r.ended(); status != succeeded {
		t.Errorf("exit status %d", status)
	}
	r.logged("msg=stopped")
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestABadFileChangesNothing(t *testing.T) {
	address, other, server := freeAddress(t), freeAddress(t), mailServer(t)
	r := start(t, address, server)
	for _, c := range []struct{ what, listen, more, says string }{
		{"a mistake", other, "colour = \"blue\"", "colour"},
		{"an address that is not free", server, "", "would loop"},
	} {
		r.configure(c.listen, server, c.more)
		r.signals <- syscall.SIGHUP
		r.logged("not reloaded")
		connect(t, address)("NOOP", "250")
		if conn, err := net.Dial("tcp", other); err == nil {
			conn.Close()
			t.Errorf("%s: it listens where the bad file says", c.what)
		}
		status, ready := r.get("/readyz")
		if _, page := r.get("/"); status != http.StatusOK || !strings.HasPrefix(ready, "ready\n") || !strings.Contains(ready, r.path+", which was not taken: ") ||
			!strings.Contains(ready, c.says) || !strings.Contains(page, "A reload failed at ") || !strings.Contains(page, "until a reload succeeds") {
			t.Errorf("%s: /readyz says %d %q, and the page %s", c.what, status, ready, page)
		}
		if status, out, err := call("ready", "-config", r.path); c.more == "" && (status != succeeded || out != "ready\n" || !strings.Contains(err, c.says)) {
			t.Errorf("%s: ready says %d, %q, %q", c.what, status, out, err)
		}
	}
	if _, body := r.get("/metrics"); !strings.Contains(body, `smtpshim_config_reloads_total{outcome="error"} 2`) {
		t.Errorf("not counted:\n%s", body)
	}
	r.configure(address, server, "")
	r.signals <- syscall.SIGHUP
	r.logged("msg=reloaded")
	if _, ready := r.get("/readyz"); ready != "ready\n" {
		t.Errorf("after a good file /readyz says %q", ready)
	}
	if _, page := r.get("/"); strings.Contains(page, "reload failed") {
		t.Errorf("after a good file the page says that a reload failed:\n%s", page)
	}
}

func TestWhoNeedsNoPasswordIsToldOnlyWhereAMistakeIs(t *testing.T) {
	bad := staleAfter("a.toml", config.Mistakes{{File: "a.toml", Line: 7, Key: "route.servers", Text: `"secret" is no address`}, {File: "a.toml", Line: 0, Key: "admin", Text: "x"}, {File: "a.toml", Line: 9, Key: "", Text: "y"}, {File: "a.toml", Line: 10, Key: "z", Text: "z"}})
	for _, c := range []struct {
		started config.Config
		want    string
	}{
		{config.Config{Admin: "127.0.0.1:9525"}, `the configuration in force is older than a.toml, which was not taken: a.toml:7: route.servers: "secret" is no address; a.toml: admin: x; a.toml:9: y; 1 more`},
		{config.Config{Admin: "192.0.2.1:9525"}, "the configuration in force is older than its file, which was not taken: line 7: route.servers; admin; line 9; 1 more; smtpshim check says more"},
		{config.Config{Admin: "127.0.0.1:9525", Password: &metrics.Password{}}, "the configuration in force is older than its file, which was not taken: line 7: route.servers; admin; line 9; 1 more; smtpshim check says more"},
	} {
		p := &instance{started: &c.started}
		p.stale.Store(bad)
		if got := p.publicStaleness(); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

func TestAReloadMovesNewSessions(t *testing.T) {
	address, other, server := freeAddress(t), freeAddress(t), mailServer(t)
	r := start(t, address, server)
	old := connect(t, address)
	r.configure(other, server, "log.level = \"debug\"")
	r.signals <- syscall.SIGHUP
	r.logged("msg=reloaded")
	connect(t, other)("NOOP", "250")
	r.logged("level=DEBUG")
	old("NOOP", "250")
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("it still listens where it did")
	}
	if _, body := r.get("/metrics"); !strings.Contains(body, `smtpshim_config_reloads_total{outcome="ok"} 1`) {
		t.Errorf("not counted:\n%s", body)
	}
}

func TestAReloadNamesOnlyWhatNeedsARestart(t *testing.T) {
	address, server := freeAddress(t), mailServer(t)
	r := start(t, address, server)
	for _, c := range []struct {
		more string
		keys []string
	}{
		{"log.level = \"debug\"\n", nil},
		{"log.format = \"json\"\n", []string{"log.format"}},
		{"log.format = \"json\"\n", []string{"log.format"}}, // it is still not in force
		{"admin.user = \"anna\"\nadmin.password_hash = \"$2y$10$" + strings.Repeat("a", 53) + "\"\n", []string{"admin.password_hash"}},
		{"admin.pprof = true\nlog.format = \"json\"\n", []string{"admin.pprof", "log.format"}},
		{"", nil},
		{"# moved", []string{"admin.listen"}},
	} {
		if c.more == "# moved" {
			r.admin = freeAddress(t)
		}
		r.configure(address, server, c.more)
		r.signals <- syscall.SIGHUP
		var keys []string
		for _, line := range r.logged("msg=reloaded") {
			if _, key, named := strings.Cut(line, "is started again\" key="); named {
				keys = append(keys, key)
			}
		}
		if !slices.Equal(keys, c.keys) {
			t.Errorf("%q: a restart is asked for because of %q, want %q", c.more, keys, c.keys)
		}
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	address := freeAddress(t)
	r := start(t, address, mailServer(t))
	say := connect(t, address)
	say("HELO client.example.com", "250")
	say("MAIL FROM:<a@example.com>", "250")
	say("RCPT TO:<b@example.com>", "250")
	say("DATA", "354") // a message under way, and drain is an hour
	r.signals <- syscall.SIGTERM
	r.logged("msg=draining")
	if status, _ := r.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d while draining", status)
	}
	if status, _ := r.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d while draining", status)
	}
	r.signals <- syscall.SIGHUP // is no second signal to end
	r.signals <- os.Interrupt
	if status := r.ended(); status != succeeded {
		t.Errorf("exit status %d", status)
	}
	r.logged("were closed")
}

func TestRunFailsWhereItCannotListen(t *testing.T) {
	taken := mailServer(t)
	for what, text := range map[string]string{
		"route": "admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [\"127.0.0.1:25\"]\n",
		"admin": "admin.listen = %q\n[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:1\"]\nservers = [\"127.0.0.1:25\"]\n",
	} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, fmt.Sprintf(text, taken))
		var log strings.Builder
		if status := serve(path, nil, &log, atLarge); status != failed || !strings.Contains(log.String(), taken) {
			t.Errorf("%s: exit status %d\n%s", what, status, &log)
		}
	}
}

func TestTheLogCanBeJSON(t *testing.T) {
	var log strings.Builder
	p := newInstance("smtpshim.toml", &config.Config{Format: "json"}, &log)
	p.log.Info("started")
	if !strings.HasPrefix(log.String(), "{") || !strings.Contains(log.String(), `"msg":"started"`) {
		t.Errorf("%s", &log)
	}
}

func TestEveryVerbOfTheProxyHasItsCounter(t *testing.T) {
	registry := prometheus.NewRegistry()
	var route proxy.Observer = metrics.New(registry, "v1").Route("in", nil, metrics.TLS{})
	for _, verb := range proxy.Verbs() {
		if verb != "greeting" && verb != "end-of-data" { // not said by clients
			route.Command(verb)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "smtpshim_commands_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() != 1 {
				t.Errorf("%v", m)
			}
		}
		return
	}
	t.Error("no commands are counted")
}

func TestEveryReasonOfTLSHasItsCounter(t *testing.T) {
	registry := prometheus.NewRegistry()
	tls := metrics.TLS{Client: []metrics.Cipher{{Version: "1.3", Suite: "TLS_AES_128_GCM_SHA256"}}}
	var route proxy.Observer = metrics.New(registry, "v1").Route("in", nil, tls)
	for _, reason := range tlspolicy.Reasons() {
		route.TLSFailed("client", reason)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "smtpshim_tls_failures_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() != 1 {
				t.Errorf("%v", m)
			}
		}
		return
	}
	t.Error("no failures are counted")
}

func TestACertificateThatChangesIsLoggedAndCounted(t *testing.T) {
	configDir(t)
	write(t, "smtpshim.toml", fmt.Sprintf("admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [\"127.0.0.1:25\"]\n"+
		"client_tls = {mode = \"offer\", certificate = \"cert.pem\", key = \"key.pem\"}\n", freeAddress(t)))
	c := mustRead(t, "smtpshim.toml")
	var log strings.Builder
	p := newInstance("smtpshim.toml", c, &log)
	defer p.proxy.Close()
	if err := p.apply(c); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err    error
		logged string
	}{
		{nil, "msg=\"certificate reloaded\" route=in side=client"},
		{errors.New("it is bad"), "msg=\"certificate not reloaded\" route=in side=client err=\"it is bad\""},
	} {
		c.Routes[0].Client.Store.Reloaded(test.err)
		if !strings.Contains(log.String(), test.logged) {
			t.Errorf("not logged: %s", &log)
		}
	}
	families, err := p.gather.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(families)
	info := c.Routes[0].Client.Store.Infos()[0]
	for _, want := range []string{"smtpshim_certificate_reloads_total", hexadecimal(info.Fingerprint), "mail.example.com"} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}

// atLarge locks nothing in: it would hold for all the tests.
func atLarge(enclosure) (version int, err error) { return 0, nil }

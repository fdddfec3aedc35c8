//go:build linux

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"text/template"
)

// A proxy is one that is measured.
type proxy struct {
	name   string
	args   func(config string) []string // of the command
	config string                       // a template in configs
	over   []string                     // its listeners
	skip   []string                     // workloads it cannot do
	needs  []string                     // files
	get    string                       // the Debian packages that have them
	ours   bool                         // a build of smtpshim, which has a listener for metrics
	rules  []string                     // of smtpshim
}

// Names that the table speaks of.
const (
	smtpshim = "smtpshim"
	haproxy  = "haproxy"
	before   = "before" // another build of smtpshim, to compare with
)

const nginxModules = "/usr/lib/nginx/modules/"

// proxies is smtpshim, whose path is the caller's, and what it is compared with: another
// build of it or, if other is "", all the other proxies.
func proxies(path, other string) []proxy {
	nginx := func(config string) []string { return []string{"nginx", "-c", config} }
	unmended := []string{"mend50"}
	build := func(name, path string) proxy {
		return proxy{name: name, config: "smtpshim.toml", over: listeners, ours: true, rules: []string{"standard"}, needs: []string{path},
			args: func(config string) []string { return []string{path, "run", "-config", config} }}
	}
	if other != "" {
		return []proxy{build(smtpshim, path), build(before, other)}
	}
	return []proxy{
		build(smtpshim, path),
		{name: haproxy, config: "haproxy.cfg", over: listeners[:3], skip: unmended, get: "haproxy",
			args: func(config string) []string { return []string{"haproxy", "-db", "-f", config} }},
		{name: "nginx-stream", config: "nginx-stream.conf", over: listeners[:3], skip: unmended, args: nginx,
			needs: []string{nginxModules + "ngx_stream_module.so"}, get: "nginx libnginx-mod-stream"},
		// It asks for directions at RCPT, and so takes no group with one in it.
		{name: "nginx-mail", config: "nginx-mail.conf", over: listeners[:3], skip: append(unmended, "pipe"), args: nginx,
			needs: []string{nginxModules + "ngx_mail_module.so"}, get: "nginx libnginx-mod-mail"},
	}
}

// missing says why the proxy cannot be run; "" if it can.
func (p *proxy) missing() string {
	command := p.args("")[0]
	if _, err := exec.LookPath(command); err != nil {
		if p.ours {
			return fmt.Sprintf("no program to measure: %v", err)
		}
		return fmt.Sprintf("no %s; apt-get install %s", command, p.get)
	}
	for _, file := range p.needs {
		if _, err := os.Stat(file); err != nil {
			return fmt.Sprintf("no %s; apt-get install %s", file, p.get)
		}
	}
	return ""
}

// does says whether the proxy can do a workload.
func (p *proxy) does(w *workload) bool {
	return slices.Contains(p.over, w.over) && !slices.Contains(p.skip, w.name)
}

//go:embed configs
var configs embed.FS

// A setting is what the templates of configurations are filled from.
type setting struct {
	Dir         string            // ours to write to, with the certificates
	Listen      map[string]string // addresses of the proxy's listeners
	Admin       string            // where metrics are
	Rules       []string          // of smtpshim
	Server      string            // the sink
	Host, Port  string            // of it
	Directions  string            // where nginx is to tell itself of it
	Sessions    int               // that it must be able to hold, and some more
	Connections int               // of so many sessions
}

// A running proxy.
type running struct {
	*process
	proxy  *proxy
	listen map[string]string
}

// run starts the proxy on free ports, and waits until it can be used.
func (p *proxy) run(ctx context.Context, dir string, sink map[string]string, sessions int) (*running, error) {
	s := setting{Dir: dir, Listen: map[string]string{}, Server: sink[plain], Rules: p.rules,
		Sessions: sessions + 1000, Connections: 2 * (sessions + 1000)}
	free, err := freeAddresses(len(p.over) + 2)
	if err != nil {
		return nil, err
	}
	if s.Host, s.Port, err = net.SplitHostPort(s.Server); err != nil {
		return nil, fmt.Errorf("address of the sink: %w", err)
	}
	s.Admin, s.Directions = free[0], free[1]
	for i, name := range p.over {
		s.Listen[name] = free[i+2]
	}
	file := filepath.Join(dir, p.name+"-"+p.config)
	if err := p.configure(file, &s); err != nil {
		return nil, err
	}
	args := p.args(file)
	proc, err := start(dir, p.name, exec.Command(args[0], args[1:]...))
	if err != nil {
		return nil, err
	}
	r := &running{proc, p, s.Listen}
	for _, address := range s.Listen {
		if err := proc.listens(ctx, address); err != nil {
			return r, err
		}
	}
	if p.ours {
		if err := scrape(s.Admin); err != nil {
			return r, err
		}
	}
	return r, proc.find()
}

func (p *proxy) configure(file string, s *setting) error {
	t, err := template.ParseFS(configs, "configs/"+p.config)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Execute(f, s)
}

// freeAddresses are of loopback, and nobody's for the moment.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := listenAt(net.ListenConfig{})
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before the last one, or they could be the same
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// listenAt takes a port that connections do not use for themselves: of those, the
// ones that have ended keep all for a minute when many were made.
func listenAt(config net.ListenConfig) (net.Listener, error) {
	const first, last = 20_000, 30_000
	begin := rand.N(last - first)
	for i := range last - first {
		port := first + (begin+i)%(last-first)
		l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, fmt.Errorf("no port from %d to %d is free on 127.0.0.1", first, last)
}

// scrape reads the metrics, as a Prometheus would have done by and by.
func scrape(address string) error {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

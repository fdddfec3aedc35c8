package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A metric is one as it is exposed.
type metric struct {
	name, kind, help string
	labels           map[string]bool
}

// ownMetrics are those of smtpshim that a program has whose configuration uses
// everything, in order. The working directory is another afterwards.
func ownMetrics(t *testing.T) (own []metric) {
	t.Helper()
	configDir(t)
	if err := os.Mkdir("recorded", 0o700); err != nil {
		t.Fatal(err)
	}
	office := startProvider(t)
	write(t, "smtpshim.toml", fmt.Sprintf("admin.listen = \"\"\n"+office.account("")+signed(office.endpoint, ".")+"[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [\"127.0.0.1:25\"]\nrules = [\"auto\"]\n"+
		"client_tls = {mode = \"offer\", certificate = \"cert.pem\", key = \"key.pem\"}\nserver_tls = {mode = \"opportunistic\"}\n"+
		"record = {dir = \"recorded\"}\n[[route]]\nname = \"seen\"\nlisten = [%q]\nservers = [\"127.0.0.1:27\"]\nmode = \"observe\"\n[[route]]\nname = \"out\"\nlisten = [%q]\nservers = [\"127.0.0.1:26\"]\n"+office.route(), freeAddress(t), freeAddress(t), freeAddress(t)))
	c := mustRead(t, "smtpshim.toml")
	p := newInstance("smtpshim.toml", c, io.Discard)
	t.Cleanup(func() { p.proxy.Close() })
	if err := p.apply(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.accounts.closeNow() })
	if _, err := p.accounts["office"].use.Tokens.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := p.gather.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "smtpshim_") {
			continue
		}
		m := metric{f.GetName(), strings.ToLower(f.GetType().String()), f.GetHelp(), map[string]bool{}}
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				m.labels[l.GetName()] = true
			}
		}
		own = append(own, m)
	}
	described := make(chan *prometheus.Desc)
	go func() {
		p.gather.(*prometheus.Registry).Describe(described)
		close(described)
	}()
	for d := range described {
		name := regexp.MustCompile(`fqName: "(smtpshim_\w+)"`).FindStringSubmatch(d.String())
		if name != nil && !slices.ContainsFunc(own, func(m metric) bool { return m.name == name[1] }) {
			t.Errorf("%s is registered, and has no value with this configuration", name[1])
		}
	}
	return own
}

// metricsTable is what observe.md says of them.
func metricsTable(all []metric) string {
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it tells |\n|---|---|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(slices.Sorted(maps.Keys(m.labels)), ", "), m.help)
	}
	return table.String()
}

func TestTheDocumentsHaveEveryMetric(t *testing.T) {
	file, err := filepath.Abs(top + "/deploy/doc/observe.md") // ownMetrics goes elsewhere
	if err != nil {
		t.Fatal(err)
	}
	betweenMarks(t, file, "<!-- begin: metrics -->\n", "<!-- end: metrics -->", metricsTable(ownMetrics(t)))
}

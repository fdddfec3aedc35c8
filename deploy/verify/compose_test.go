package verify

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"go.yaml.in/yaml/v3"

	"smtpshim/proxy/smtptest/real"
)

const composeFile = "../container/compose.yaml"

// project is compose.yaml as "docker compose config" reads it: checked by its
// schema, and every name in it by what there is.
func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithNormalization(true), cli.WithConsistency(true), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// files has what a service mounts below dir, at its places.
func files(t *testing.T, s types.ServiceConfig, dir string) {
	t.Helper()
	for _, v := range s.Volumes {
		text, err := os.ReadFile(v.Source)
		if err != nil {
			t.Fatalf("service %s mounts what is no file: %v", s.Name, err)
		}
		to := filepath.Join(dir, v.Target)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingOfThePictureIsReachedFromElsewhere(t *testing.T) {
	for _, s := range project(t).Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("service %s has port %s open at %q", s.Name, port.Published, port.HostIP)
			}
		}
		if s.Image == "" || s.Build == nil && (!strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest")) {
			t.Errorf("service %s takes image %q, whatever that is on that day", s.Name, s.Image)
		}
	}
}

// TestGrafanaFindsItsDashboard follows what Grafana reads from one file to the next.
func TestGrafanaFindsItsDashboard(t *testing.T) {
	p, dir := project(t), real.Dir(t)
	grafana := p.Services["grafana"]
	files(t, grafana, dir)
	read := func(name string, into any) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	read("/etc/grafana/provisioning/dashboards/smtpshim.yml", &dashboards)
	var dashboard struct{ Title string }
	read(filepath.Join(dashboards.Providers[0].Options.Path, "smtpshim.json"), &dashboard)
	if dashboard.Title != "smtpshim" {
		t.Errorf("the dashboard is called %q", dashboard.Title)
	}
	if home := *grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; filepath.Dir(home) != dashboards.Providers[0].Options.Path {
		t.Errorf("its first page is %s", home)
	}
	var sources struct{ Datasources []struct{ URL string } }
	read("/etc/grafana/provisioning/datasources/smtpshim.yml", &sources)
	at, err := url.Parse(sources.Datasources[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := p.Services[at.Hostname()]; !ok || !slices.ContainsFunc(s.Ports, func(port types.ServicePortConfig) bool { return fmt.Sprint(port.Target) == at.Port() }) {
		t.Errorf("there is no service at %s", at)
	}
}

// TestTheWholePictureComesUp runs what compose.yaml has, as it has it, on a machine
// of its own where each service is an address; but for Grafana, which is not to be
// had as a package.
func TestTheWholePictureComesUp(t *testing.T) {
	t.Parallel()
	prometheus, promtool := real.Bin(t, "prometheus", "prometheus"), real.Bin(t, "prometheus", "promtool")
	real.Bin(t, "curl", "curl")
	p, dir := project(t), real.Dir(t)
	program := filepath.Join(dir, "smtpshim")
	if out, err := exec.Command("go", "build", "-C", repository, "-buildvcs=false", "-o", program, "./cmd/smtpshim").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var names strings.Builder
	for n, name := range p.ServiceNames() {
		fmt.Fprintf(&names, "127.0.0.%d %s\n", 2+n, name)
	}
	real.OwnMachine(t, names.String())
	for _, s := range p.Services {
		files(t, s, dir)
	}
	real.Start(t, nil, program, p.Services["legacy"].Command...)
	real.Start(t, nil, program, imageCommand(t, dir)...)
	config := filepath.Join(dir, "etc/prometheus/prometheus.yml")
	if out, err := exec.Command(promtool, "check", "config", config).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	real.Start(t, nil, prometheus, "--config.file="+config, "--storage.tsdb.path="+dir+"/data", "--log.level=warn")
	client := p.Services["client"]
	real.Start(t, nil, client.Entrypoint[0], append(slices.Clone(client.Entrypoint[1:]), client.Command...)...)

	for _, query := range []string{
		`up{job="smtpshim"} == 1`,
		`smtpshim_server_up{server="legacy:2626"} == 1`,
		`smtpshim_messages_total{route="exchange-in",outcome="accepted"} > 1`,
		`smtpshim_rule_applied_total{rule="advertise-esmtp"} > 1`,
		`smtpshim_rule_applied_total{rule="fix-hello-name"} > 1`,
	} {
		real.Wait(t, query, func() bool { return holds(t, query) })
	}
}

// imageCommand is what the image runs where nothing else is said, with its files
// below dir.
func imageCommand(t *testing.T, dir string) (args []string) {
	t.Helper()
	list := stages(t)
	for _, c := range list[len(list)-1].Commands {
		if cmd, ok := c.(*instructions.CmdCommand); ok {
			for _, arg := range cmd.CmdLine {
				if filepath.IsAbs(arg) {
					arg = dir + arg
				}
				args = append(args, arg)
			}
		}
	}
	return args
}

// holds asks Prometheus.
func holds(t *testing.T, query string) bool {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:9090")
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	request, err := http.NewRequest(http.MethodGet, "http://prometheus:9090/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Write(conn); err != nil {
		return false
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var answer struct {
		Data struct{ Result []any }
	}
	return json.NewDecoder(response.Body).Decode(&answer) == nil && len(answer.Data.Result) > 0
}

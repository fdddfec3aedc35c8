//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

const (
	dashboardFile = "../../deploy/grafana/smtpshim.json"
	alertsFolder  = "../../deploy/prometheus"
	alertsFile    = alertsFolder + "/smtpshim.rules.yml"
)

// A query is one of a panel's.
type query struct{ panel, expr string }

// dashboardQueries are all that the dashboard asks Prometheus for.
func dashboardQueries(t *testing.T) (all []query) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %d, %q: its number is taken, or it has no title, or nothing to show", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.Expr})
		}
	}
	return all
}

func TestTheDashboardAndTheAlertsNameOnlyMetricsThatExist(t *testing.T) {
	alerts, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(alerts)
	queries := dashboardQueries(t)
	for _, q := range queries {
		text += q.expr + "\n"
	}
	known := map[string]bool{}
	for _, m := range ownMetrics(t) {
		known[m.name] = true
		if m.kind == "histogram" {
			known[m.name+"_bucket"] = true
		}
	}
	named := regexp.MustCompile(`smtpshim_\w+`).FindAllString(text, -1)
	for _, name := range named {
		if !known[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
	if len(queries) < 30 || len(named) < 50 {
		t.Errorf("only %d queries with %d names were found", len(queries), len(named))
	}
}

func TestEachAlertFiresAndStaysSilentAsItShould(t *testing.T) {
	t.Parallel()
	promtool := real.Bin(t, "prometheus", "promtool")
	for _, args := range [][]string{
		{"check", "rules", "smtpshim.rules.yml"},
		{"test", "rules", "smtpshim.test.yml", "smtpshim-days.test.yml"},
	} {
		check := exec.Command(promtool, args...)
		check.Dir = alertsFolder
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var tests string
	for _, name := range []string{"smtpshim.test.yml", "smtpshim-days.test.yml"} {
		text, err := os.ReadFile(filepath.Join(alertsFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		tests += string(text)
	}
	alerts, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(alerts), -1) {
		if !strings.Contains(tests, `alertname="`+alert[1]+`"`) {
			t.Errorf("nothing tests that %s fires", alert[1])
		}
	}
}

// A watched is a smtpshim with something to do, and the folder that it lies in.
type watched struct {
	admin                string
	healing, down, wrong string // addresses of its routes
	office, observing    string // of the one that logs in, and of the one whose rules only observe
	proc                 *os.Process
	dir                  string
}

// startWatched runs a smtpshim with five routes: to a server that has to be
// healed, for clients with old TLS too; to one that is down; to one whose
// certificate nobody believes; to one where it logs in with a token; and to the
// first with rules that only observe. Another account, with a certificate, has a token
// endpoint that is down.
func startWatched(t *testing.T) watched {
	t.Helper()
	legacy, _ := smtptest.LookupServer("exchange-5.0")
	healed := legacy.Start(listenHere(t))
	t.Cleanup(func() { healed.Close() })
	certificate, _, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	modern, _ := smtptest.LookupServer("modern")
	modern.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	unbelieved := modern.Start(listenHere(t))
	t.Cleanup(func() { unbelieved.Close() })

	w := watched{admin: real.FreeAddr(), healing: real.FreeAddr(), down: real.FreeAddr(), wrong: real.FreeAddr(), office: real.FreeAddr(), observing: real.FreeAddr(), dir: real.Dir(t)}
	office := startProvider(t)
	configtest.Certificate(t, filepath.Join(w.dir, "cert.pem"), configtest.Key(t, filepath.Join(w.dir, "key.pem")), time.Now().AddDate(1, 0, 0))
	if err := os.Mkdir(filepath.Join(w.dir, "recorded"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(w.dir, "smtpshim.toml")
	write(t, config, fmt.Sprintf(`state_dir = %q
admin.listen = %q
[[route]]
name = "healing"
listen = [%q]
servers = [%q]
client_tls = {mode = "offer", certificate = "self-signed", names = ["mail.example.com"], weak = [{allow = ["obsolete-tls-1.0"]}]}
record = {dir = %q}
options.fix-hello-name.when = "always"
[[route]]
name = "down"
listen = [%q]
servers = [%q]
[[route]]
name = "wrong"
listen = [%q]
servers = [%q]
server_tls = {mode = "require"}
%s%s[[route]]
name = "office"
listen = [%q]
servers = [%q]
%s[[route]]
name = "observing"
listen = [%q]
servers = [%q]
mode = "observe"
`, filepath.Join(w.dir, "state"), w.admin, w.healing, healed.Addr(), filepath.Join(w.dir, "recorded"), w.down, real.FreeAddr(), w.wrong, unbelieved.Addr(),
		office.account(""), signed("https://"+real.FreeAddr()+"/token", w.dir), w.office, office.mail, office.route(), w.observing, healed.Addr()))
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	w.proc, _ = real.StartLogged(t, nil, path, "run", "-config", config)
	real.Listening(t, w.admin)
	return w
}

func listenHere(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// talk says lines to an address and waits for the end of each reply. The line
// STARTTLS is followed by a handshake of TLS 1.0. What is answered does not matter here.
func talk(address string, lines ...string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	replies := bufio.NewReader(conn)
	hear := func() (err error) {
		line := "250-"
		for err == nil && len(line) > 3 && line[3] == '-' {
			line, err = replies.ReadString('\n')
		}
		return err
	}
	for _, line := range lines {
		if hear() != nil {
			return
		}
		fmt.Fprintf(conn, "%s\r\n", line)
		if line == "STARTTLS" {
			hear()
			conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, InsecureSkipVerify: true})
			replies = bufio.NewReader(conn)
			fmt.Fprint(conn, "EHLO scanner.example.com\r\n")
		}
	}
	hear()
}

// keepBusy gives every route something to do, again and again until the test ends. The
// clients wait for none but themselves, so that each is there several times in what a
// rate looks at, however slow this machine is.
func (w watched) keepBusy(t *testing.T) {
	mail := []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "Subject: hello\r\n\r\nhello\r\n.", "QUIT"}
	var clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	for _, c := range []struct {
		address string
		lines   []string
	}{
		{w.healing, append([]string{"EHLO sub2."}, mail...)},
		{w.healing, append([]string{"EHLO scanner.example.com", "STARTTLS"}, mail...)},
		{w.observing, append([]string{"EHLO client.example.com"}, mail...)},
		{w.down, []string{"EHLO client.example.com"}},
		{w.office, append([]string{"EHLO client.example.com"}, mail...)},
		{w.wrong, append([]string{"EHLO client.example.com"}, mail...)},
	} {
		clients.Go(func() {
			pause := time.NewTicker(200 * time.Millisecond)
			defer pause.Stop()
			for t.Context().Err() == nil {
				talk(c.address, c.lines...)
				select {
				case <-pause.C:
				case <-t.Context().Done():
				}
			}
		})
	}
}

// startPrometheus has a real one ask the smtpshim every second, and judge by our alerts. It returns where it answers.
func startPrometheus(t *testing.T, w watched, flags ...string) (address string) {
	t.Helper()
	alerts, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	address = real.FreeAddr()
	config := filepath.Join(w.dir, address+".yml")
	write(t, config, fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs:\n  - job_name: smtpshim\n    static_configs: [{ targets: [%q] }]\n", alerts, w.admin))
	real.Start(t, nil, real.Bin(t, "prometheus", "prometheus"), append(flags, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(w.dir, address), "--web.listen-address="+address, "--log.level=warn")...)
	real.Wait(t, "Prometheus to be ready", func() bool {
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return address
}

// A sample is what Prometheus answers a query with, one of several.
type sample struct {
	Metric map[string]string
	Value  [2]any // time and number
}

// ask asks Prometheus, and gives the samples that are numbers.
func ask(t *testing.T, address, expr string) []sample {
	t.Helper()
	var answer struct {
		Data struct{ Result []sample }
	}
	get(t, address, "/api/v1/query?query="+url.QueryEscape(expr), &answer)
	return slices.DeleteFunc(answer.Data.Result, func(s sample) bool { return s.Value[1] == "NaN" })
}

func get(t *testing.T, address, path string, answer any) {
	t.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v, %v", path, response.Status, answer, err)
	}
}

// quiet are queries that stay empty while all is well, by a part of them, with why.
var quiet = map[string]string{
	"smtpshim_rule_broken_total": "no rule is known that makes what is no line",
}

func TestAPrometheusSeesWhatTheDashboardShows(t *testing.T) {
	t.Parallel()
	real.Bin(t, "prometheus", "prometheus")
	w := startWatched(t)
	w.keepBusy(t)
	address := startPrometheus(t, w)
	w.proc.Signal(syscall.SIGHUP)
	as := strings.NewReplacer("$__rate_interval", "15s", "$__range", "1m", "$instance", ".*", "$route", ".*")
	for _, q := range dashboardQueries(t) {
		expr := as.Replace(q.expr)
		isQuiet := false
		for part := range quiet {
			isQuiet = isQuiet || strings.Contains(expr, part)
		}
		if isQuiet {
			ask(t, address, expr) // which has to be right all the same
			continue
		}
		real.Wait(t, fmt.Sprintf("%s, %s", q.panel, expr), func() bool { return len(ask(t, address, expr)) > 0 })
	}
	t.Run("alerts", func(t *testing.T) { watchAlerts(t, address) })
}

// watchAlerts waits for what those routes deserve, in words that are whole.
func watchAlerts(t *testing.T, address string) {
	type alert struct {
		Labels, Annotations map[string]string
		State               string
	}
	for name, state := range map[string]string{"SmtpshimRouteHasNoServer": "pending", "SmtpshimServerTLSFails": "pending", "SmtpshimOldTLS": "firing"} {
		real.Wait(t, name+", "+state, func() bool {
			var answer struct{ Data struct{ Alerts []alert } }
			get(t, address, "/api/v1/alerts", &answer)
			for _, a := range answer.Data.Alerts {
				if text := a.Annotations["summary"] + a.Annotations["description"]; strings.Contains(text, "<error") || strings.Contains(text, "no value") {
					t.Fatalf("%s says %q", a.Labels["alertname"], text)
				}
			}
			return slices.ContainsFunc(answer.Data.Alerts, func(a alert) bool { return a.Labels["alertname"] == name && a.State == state })
		})
	}
}

// A Prometheus that takes native histograms gets them.
func TestHistogramsAreNativeForWhoTakesThem(t *testing.T) {
	t.Parallel()
	real.Bin(t, "prometheus", "prometheus")
	w := startWatched(t)
	w.keepBusy(t)
	address := startPrometheus(t, w, "--enable-feature=native-histograms")
	for _, name := range []string{"session", "held", "server_connect", "server_reply"} {
		expr := "histogram_quantile(0.5, sum(rate(smtpshim_" + name + "_seconds[15s]))) > 0"
		real.Wait(t, expr, func() bool { return len(ask(t, address, expr)) > 0 })
	}
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

func TestThePageShowsASessionWithBothItsLegs(t *testing.T) {
	address := freeAddress(t)
	r := startRoute(t, address, mailServer(t), mendsEveryName)
	if status, body := r.get("/"); status != http.StatusOK || !strings.Contains(body, "None yet") {
		t.Fatal(status, body)
	}
	response, err := http.Get("http://" + r.admin + "/events?route=in&healed=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	say := connect(t, address)
	say("HELO sub2.", "250")
	timeout := time.AfterFunc(patience, func() { response.Body.Close() })
	defer timeout.Stop()
	var events []string
	for lines := bufio.NewScanner(response.Body); len(events) < 3 && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && !strings.Contains(data, `"side":"S"`) {
			events = append(events, data)
		}
	}
	for i, want := range []string{`{"kind":"began"`, `"mark":"-","text":"HELO sub2."`, `"mark":"+","text":"HELO sub2","rule":"fix-hello-name"`} {
		if i >= len(events) || !strings.Contains(events[i], want) {
			t.Errorf("events %q, want one with %s as number %d", events, want, i)
		}
	}
	_, body := r.get("/?healed=1")
	for _, want := range []string{"<b>C-</b> <del>HELO sub2.</del>", "<b>C&#43;</b> <ins>HELO sub2</ins>", "fix-hello-name", "KB Q240832", ">under way<"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page:\n%s", want, body)
		}
	}
	if _, body := r.get("/?route=out"); strings.Contains(body, "HELO sub2") {
		t.Errorf("the sessions of another route are shown:\n%s", body)
	}
}

func TestThePageIsForWhomItMayBeShownTo(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), 10)
	if err != nil {
		t.Fatal(err)
	}
	password := fmt.Sprintf("user = \"anna\"\npassword_hash = %q", hash)
	for _, c := range []struct {
		listen, more, host, secret string
		status                     int
		page                       bool
	}{
		{"127.0.0.1:9525", "", "127.0.0.1:9525", "", 200, true},
		{"127.0.0.1:9525", "", "shim.example.com", "", 421, false},
		{"127.0.0.1:9525", password, "127.0.0.1:9525", "", 401, false},
		{"127.0.0.1:9525", password, "127.0.0.1:9525", "secret", 200, true},
		{":9525", "public = true", "192.0.2.1:9525", "", 200, false}, // the index
		{":9525", password, "shim.example.com", "", 401, false},
		{":9525", password, "shim.example.com", "wrong", 401, false},
		{":9525", password, "shim.example.com", "secret", 200, true},
	} {
		read := readText(t, fmt.Sprintf("[admin]\nlisten = %q\n%s\n[[route]]\nname = \"in\"\n"+
			"listen = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n", c.listen, c.more))
		p := newInstance("", read, t.Output())
		t.Cleanup(func() { p.writer.Close() })
		admin := metrics.Admin(p.gather, p.readyz, false)
		p.addPage(admin)
		belongs := c.status // what belongs to the page is for the same people
		if c.status == 200 && !c.page {
			belongs = 404
		}
		recording := belongs
		if c.page {
			recording = 404 // there is no such session
		}
		for path, status := range map[string]int{"/": c.status, "/healthz": 200, "/readyz": 503,
			"/rule?name=shield": belongs, "/recording?session=x": recording, "/replay?session=x": recording, "/observed": belongs, "/page.js": belongs} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = c.host
			if c.secret != "" {
				r.SetBasicAuth("anna", c.secret)
			}
			w := httptest.NewRecorder()
			admin.Handler.ServeHTTP(w, r)
			if page := strings.Contains(w.Body.String(), "Last sessions"); w.Code != status || page != (c.page && path == "/") {
				t.Errorf("%s on %s as %s with %q: %d, page %v", path, c.listen, c.host, c.secret, w.Code, page)
			}
			if sought := strings.Contains(w.Body.String(), "no such session"); sought != (c.page && strings.Contains(path, "session=x")) {
				t.Errorf("%s on %s as %s with %q: a recording is looked for: %v", path, c.listen, c.host, c.secret, sought)
			}
		}
	}
}

func TestEveryNameOfAChangeIsExplained(t *testing.T) {
	var names []string
	for _, cause := range vocabulary.Causes() {
		names = append(names, string(cause))
	}
	for _, safeguard := range vocabulary.Safeguards() {
		names = append(names, string(safeguard))
	}
	for _, r := range heal.Table() {
		names = append(names, r.Name)
	}
	for _, name := range names {
		if describer()(name).Says == "" {
			t.Errorf("nothing is said of %s", name)
		}
	}
	if r := describer()("replace-size"); r.Says == "" || r.Source == "" {
		t.Errorf("of a rule of [[route.replace]] is said %+v", r)
	}
}

func TestEveryRuleIsDescribedOnThePage(t *testing.T) {
	for _, r := range heal.Table() {
		d := explained()[r.Name].Description()
		if d.Does == "" || len(d.Entries) != len(r.Entries) || len(d.Options) < len(r.Options)+3 || (d.Lines == nil) != (d.About == "") {
			t.Errorf("%s: %+v", r.Name, d)
		}
	}
}

// refusesRecipients is a server that has no room for any.
func refusesRecipients(t *testing.T) (address string) {
	t.Helper()
	return serveEach(t, func(conn net.Conn) {
		fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "RCPT") {
				fmt.Fprint(conn, "552 Too many recipients\r\n")
			} else {
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	})
}

func TestAFailedSessionIsExplainedOnThePageAndToThoseWhoWatch(t *testing.T) {
	address := freeAddress(t)
	r := startRoute(t, address, refusesRecipients(t), "")
	response, err := http.Get("http://" + r.admin + "/events?outcome=failed")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	timeout := time.AfterFunc(patience, func() { response.Body.Close() })
	defer timeout.Stop()
	say := connect(t, address)
	say("EHLO client.example.com", "250")
	say("MAIL FROM:<anna@example.com>", "250")
	say("RCPT TO:<carol@example.com>", "552")
	say("QUIT", "2")
	var ended journal.Notice
	for lines := bufio.NewScanner(response.Body); ended.Kind != journal.Ended && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &ended); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(ended.Causes) == 0 || ended.Causes[0].Rule != "too-many-recipients" || !strings.HasPrefix(ended.Causes[0].Do, `add "too-many-recipients" to rules of the route in`) {
		t.Fatalf("watched: %+v", ended)
	}
	_, body := r.get("/?outcome=refused")
	for _, want := range []string{ended.ID, "RCPT: 552 Too many recipients", html.EscapeString(ended.Causes[0].Means), html.EscapeString(ended.Causes[0].Do), `href="rule?name=too-many-recipients"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not on the page:\n%s", want, body)
		}
	}
	if status, text := r.get("/rule?name=too-many-recipients"); status != http.StatusOK || !strings.Contains(text, "L48") {
		t.Errorf("%d %s", status, text)
	}
}

func TestARecordingOfASessionIsSavedFromThePage(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	r := startRoute(t, address, mailServer(t), mendsEveryName+"\n[route.record]\ndir = "+fmt.Sprintf("%q", dir))
	say := connect(t, address) // nobody looks: it is in the file alone
	say("HELO sub2.", "250")
	say("QUIT", "2")
	r.counts(`smtpshim_recordings_total{outcome="written",route="in"} 1`)
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	file := files[0]
	unseen := strings.TrimSuffix(file[strings.LastIndexByte(file, '-')+1:], ".txt")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := r.get("/"); !strings.Contains(body, `href="recording?session=`+unseen) {
		t.Errorf("no link to the recording of %s:\n%s", unseen, body)
	}
	if status, text := r.get("/recording?session=" + unseen); status != http.StatusOK || text != string(want) {
		t.Errorf("%d, %q, want %q", status, text, want)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, body := r.get("/"); strings.Contains(body, "recording?") {
		t.Errorf("a link to a recording that is gone:\n%s", body)
	}
	for _, id := range []string{unseen, "none", "", "../" + unseen} {
		if status, text := r.get("/recording?session=" + id); status != http.StatusNotFound {
			t.Errorf("%q: %d, %s", id, status, text)
		}
	}
}

// Where nothing is recorded, what the journal keeps is saved: no more than a recording has.
func TestARecordingOfWhatTheJournalKeepsHasNoSecrets(t *testing.T) {
	address := freeAddress(t)
	r := startRoute(t, address, mailServer(t), mendsEveryName)
	r.get("/") // somebody looks
	say := connect(t, address)
	say("HELO sub2.", "250")
	say("AUTH PLAIN c2VjcmV0", "")
	say("MAIL FROM:<anna@example.com>", "250")
	say("RCPT TO:<ben@example.com>", "250")
	say("QUIT", "2")
	r.logged("outcome=")
	_, body := r.get("/")
	_, link, _ := strings.Cut(body, `href="recording?session=`)
	link, _, ok := strings.Cut(link, `"`)
	if !ok {
		t.Fatalf("no link to a recording:\n%s", body)
	}
	status, text := r.get("/recording?session=" + link)
	for _, want := range []string{"Recorded    session " + link + " of route in\n", "\nfix-hello-name\n", "\nfix-hello-name.when = ", "\nC: AUTH PLAIN ...(8 octets)\n", "\nC- HELO sub2.\nC+ HELO sub2\n", "RCPT TO:<ben@example.com>"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, %q is not in\n%s", status, want, text)
		}
	}
	if strings.Contains(text, "c2VjcmV0") {
		t.Errorf("a secret is in\n%s", text)
	}
}

func TestARecordingHasTheRulesOfItsTime(t *testing.T) {
	listen, server := freeAddress(t), mailServer(t)
	r := startRoute(t, listen, server, "rules = []\n")
	r.get("/") // somebody looks
	say := connect(t, listen)
	say("EHLO sub2.", "")
	say("QUIT", "2")
	r.logged("outcome=")
	recording := func() string {
		_, body := r.get("/")
		_, link, _ := strings.Cut(body, `href="recording?session=`)
		link, _, _ = strings.Cut(link, `"`)
		status, text := r.get("/recording?session=" + link)
		if status != http.StatusOK || !strings.Contains(text, "\nC: EHLO sub2.\n") {
			t.Fatalf("%d, %s", status, text)
		}
		return text
	}
	before := recording()
	if strings.Contains(before, "fix-hello-name") {
		t.Errorf("there were no rules:\n%s", before)
	}
	r.route = mendsEveryName
	r.configure(listen, server, "")
	r.reloaded()
	if after := recording(); after != before {
		t.Errorf("once the route has rules it is\n%s", after)
	}
	write(t, r.path, strings.ReplaceAll(mustReadText(t, r.path), `name = "in"`, `name = "out"`))
	r.reloaded()
	if after := recording(); after != before {
		t.Errorf("once the route is gone it is\n%s", after)
	}
}

func TestAFailedReloadOfTheConfigurationHasItsTimeAndItsMistakes(t *testing.T) {
	configDir(t)
	write(t, "smtpshim.toml", "admin.listen = \"\"\n[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\n"+
		"client_tls = {mode = \"offer\", certificate = \"cert.pem\", key = \"key.pem\"}\n")
	p := newInstance("smtpshim.toml", mustRead(t, "smtpshim.toml"), t.Output())
	t.Cleanup(func() { p.writer.Close() })
	if list := p.failedReloads(); list != nil {
		t.Errorf("before any: %+v", list)
	}
	p.stale.Store(staleAfter("smtpshim.toml", config.Mistakes{{File: "smtpshim.toml", Line: 7, Key: "route.servers", Text: "is missing"}}))
	list := p.failedReloads()
	if len(list) != 1 || list[0].What != "the configuration, smtpshim.toml" || list[0].At.IsZero() ||
		strings.Join(list[0].Errs, "; ") != "smtpshim.toml:7: route.servers: is missing" {
		t.Errorf("of the configuration: %+v", list)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/evidence"
	"smtpshim/proxy/smtptest"
)

// observes runs "smtpshim observe" and returns what it prints.
func observes(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(append([]string{"observe"}, args...), &out, &errs)
	return status, out.String(), errs.String()
}

// patched applies a diff to a file by patch.
func patched(t *testing.T, path, diff string) {
	t.Helper()
	program, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("there is no patch")
	}
	cmd := exec.Command(program, "--batch", "--binary", "--fuzz=0", path)
	cmd.Stdin = strings.NewReader(diff)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("patch: %v\n%s\n%s", err, text, diff)
	}
}

// TestWhatObserveProposesHealsWhatFailed sends as Exchange 5.0 does to Exchange 5.5, which
// fails under observation as it fails without smtpshim, and arrives once the proposed diff
// is in force.
func TestWhatObserveProposesHealsWhatFailed(t *testing.T) {
	legacy, _ := smtptest.LookupServer("exchange-5.5")
	server, err := startStandIn(legacy.WithAuth(smtptest.AuthInitial, smtptest.AuthPrompted), loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, _ := smtptest.LookupClient("exchange-5.0")
	listen := freeAddress(t)
	dial := func() (net.Conn, error) { return net.DialTimeout("tcp", listen, patience) }

	r := startRoute(t, listen, server.Addr(), "mode = \"observe\" # for a week\nrules = [\n  \"standard\", # all of it\n  \"shield\",\n  \"hide-esmtp\",\n]\n")
	if got := client.Deliver(dial, demoMessage); got.Outcome == smtptest.Delivered {
		t.Fatalf("it was delivered under observation:\n%s", got.Dialogue)
	}
	r.logged("would=")
	status, out, errs := observes(t, "-config", r.path)
	if status != succeeded || errs != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	for _, want := range []string{
		"# route in: 1 session of 1 client since ",
		"#   1 of 1 client needs translate-xauth: 127.0.0.1\n",
		"\n-mode = \"observe\" # for a week\n", "\n+rules = [\"standard\"",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	_, counts := r.get("/metrics")
	if !strings.Contains(counts, `smtpshim_rule_would_apply_total{route="in",rule="translate-xauth"} `) || strings.Contains(counts, `smtpshim_rule_would_apply_total{route="in",rule="translate-xauth"} 0`) {
		t.Error("the metrics do not count translate-xauth among what would be done")
	}
	if _, page := r.get("/"); !strings.Contains(page, "Would act") || !strings.Contains(page, "1 of 1 client<") {
		t.Errorf("the page does not show what would act:\n%s", page)
	}

	patched(t, r.path, out)
	r.reloaded()
	if got := client.Deliver(dial, demoMessage); got.Outcome != smtptest.Delivered {
		t.Errorf("with what was proposed in force: %v\n%s", got.Outcome, got.Dialogue)
	}
	if status, _, errs = observes(t, "-config", r.path); status != failed || !strings.Contains(errs, "observes nothing") {
		t.Errorf("after the reload: status %d, %q", status, errs)
	}
}

// proposedFor is the diff for a file and what was observed on its route named in.
func proposedFor(t *testing.T, text string, acted ...string) (*proposal, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	route := evidence.Route{Name: "in", Since: time.Now(), Sessions: 1, Clients: 1}
	for _, name := range acted {
		route.Rules = append(route.Rules, evidence.Rule{Name: name, Times: 1, Sessions: 1, Clients: 1, Named: []string{"192.0.2.7"}})
	}
	p, err := propose(path, []evidence.Route{route})
	return p, path, err
}

func TestTheDiffChangesTheModeAndTheRulesOfItsRouteAlone(t *testing.T) {
	const before = "[[route]]\nname = \"out\"\nmode = \"observe\"\n\n[[route]]\n  name = \"in\" # mode = \"observe\"\n"
	for _, c := range []struct {
		name, route, want string
		acted             []string
	}{
		{"no rules are named", "  mode = \"observe\"\n", "", []string{"join-data-reply"}},
		{"a rule has no evidence", "  rules = [\"shield\", \"hide-esmtp\"]\n  mode = \"observe\"\n", "  rules = [\"shield\"]\n", []string{"shield"}},
		{"several lines", "  rules = [\n  \"shield\", # ]\n  'hide-esmtp' ]\n  mode = 'observe'\n", "  rules = [\"hide-esmtp\"]\n", []string{"hide-esmtp"}},
		{"as it is", "  mode = \"observe\"\n  rules = [\"shield\"] # why\n", "  rules = [\"shield\"] # why\n", []string{"shield"}},
		{"other line ends", "  rules = [\"shield\",\"hide-esmtp\"]\r\n  mode = \"observe\"\r\n", "  rules = [\"shield\"]\r\n", []string{"shield"}},
		{"no end", "  rules = [\"shield\"]\n  mode = \"observe\"", "  rules = [\"shield\"]\n", []string{"shield"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, path, err := proposedFor(t, before+c.route, c.acted...)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			p.print(&out)
			patched(t, path, out.String())
			got, err := os.ReadFile(path)
			if err != nil || string(got) != before+c.want {
				t.Errorf("got\n%s\nwant\n%s\n%v", got, before+c.want, err)
			}
		})
	}
}

func TestOneDiffChangesEveryRouteThatObserves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, "[[route]]\nname = \"a\"\nrules = [\n  \"shield\",\n  \"hide-esmtp\",\n]\nmode = \"observe\"\n\n[[route]]\nmode = \"observe\"\nname = \"b\"\nrules = [\"hide-esmtp\", \"shield\"]\n")
	acted := []evidence.Rule{{Name: "shield", Clients: 1}}
	p, err := propose(path, []evidence.Route{{Name: "b", Rules: acted}, {Name: "a", Rules: acted}})
	if err != nil {
		t.Fatal(err)
	}
	patched(t, path, p.Diff)
	got, err := os.ReadFile(path)
	if want := "[[route]]\nname = \"a\"\nrules = [\"shield\"]\n\n[[route]]\nname = \"b\"\nrules = [\"shield\"]\n"; err != nil || string(got) != want {
		t.Errorf("got\n%s\nwant\n%s\n%v", got, want, err)
	}
}

func TestWhatCannotBeChangedByLinesIsSaid(t *testing.T) {
	_, _, err := proposedFor(t, "route = [{ name = \"in\", mode = \"observe\", rules = [\"shield\", \"hide-esmtp\"] }]\n", "shield")
	if err == nil || !strings.Contains(err.Error(), `write rules = ["shield"]`) {
		t.Errorf("got %v", err)
	}
	_, _, err = proposedFor(t, "[[route]]\nname = \"in\"\n", "shield")
	if err == nil || !strings.Contains(err.Error(), `has no route "in" that observes`) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyNamesWithEvidenceAreProposed(t *testing.T) {
	for _, c := range []struct {
		names, acted, want []string
	}{
		{[]string{"standard"}, []string{"shield"}, []string{"standard"}},
		{[]string{"auto"}, nil, []string{"auto"}},
		{[]string{"exchange-5.5", "iis-5"}, []string{"auth-prompts"}, []string{"iis-5"}},
		{[]string{"iis-5", "-mend-505"}, []string{"auth-prompts"}, []string{"iis-5", "-mend-505"}},
		{[]string{"sendmail-8.6", "-shield"}, []string{"auth-prompts"}, []string{}},
	} {
		var acted []evidence.Rule
		for _, name := range c.acted {
			acted = append(acted, evidence.Rule{Name: name})
		}
		if got := proposedRules(c.names, acted); !slices.Equal(got, c.want) {
			t.Errorf("of %q, where %q would act: %q, want %q", c.names, c.acted, got, c.want)
		}
	}
}

// TestWhatAPeerSaidCannotLookLikeADiff prints evidence whose lines are hostile.
func TestWhatAPeerSaidCannotLookLikeADiff(t *testing.T) {
	p := &proposal{File: "smtpshim.toml", Routes: []proposedRoute{{Route: evidence.Route{Name: "in", Sessions: 1, Clients: 1000,
		Rules: []evidence.Rule{{Name: "shield", Clients: 1000, Named: []string{"192.0.2.7"}, Line: "x\n--- a\n+++ b\n@@ -1 +1 @@\x1b[2J"}}}}}}
	var out bytes.Buffer
	p.print(&out)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "# ") && line != "#\n" || strings.Contains(line, "\x1b") {
			t.Errorf("got the line %q", line)
		}
	}
	if want := "#   1000 or more of 1000 or more clients need shield: 192.0.2.7, ...\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}

func TestObserveSaysWhyThereIsNothing(t *testing.T) {
	r := start(t, freeAddress(t), freeAddress(t))
	if status, _, errs := observes(t, "-config", r.path); status != failed || !strings.Contains(errs, `write mode = "observe" in a [[route]]`) {
		t.Errorf("status %d, %q", status, errs)
	}
	if status, _, errs := observes(t, "-config", r.path, "http://"+freeAddress(t)); status != failed || errs == "" {
		t.Errorf("nobody there: status %d, %q", status, errs)
	}
	if status, _, errs := observes(t, "ftp://192.0.2.1"); status != misused || !strings.Contains(errs, "is no URL") {
		t.Errorf("status %d, %q", status, errs)
	}
}

func TestObservePrintsJSON(t *testing.T) {
	r := startRoute(t, freeAddress(t), mailServer(t), "mode = \"observe\"\nrules = [\"hide-esmtp\", \"shield\"]\n")
	status, out, errs := observes(t, "-json", "-config", r.path)
	var p proposal
	if err := json.Unmarshal([]byte(out), &p); err != nil || status != succeeded || errs != "" {
		t.Fatalf("status %d, %v, %s", status, err, errs)
	}
	if len(p.Routes) != 1 || p.Routes[0].Name != "in" || p.Routes[0].Sessions != 0 || p.Diff != "" {
		t.Errorf("got %+v", p)
	}
}

func TestTheModeIsChangedByAReload(t *testing.T) {
	listen, server := freeAddress(t), mailServer(t)
	r := startRoute(t, listen, server, mendsEveryName+"rules = [\"fix-hello-name\"]\nmode = \"observe\"\n")
	say := connect(t, listen)
	say("EHLO x.", "250")
	say("QUIT", "")
	r.logged("would=fix-hello-name")
	r.route = mendsEveryName + "rules = [\"fix-hello-name\"]\nmode = \"heal\"\n"
	r.configure(listen, server, "")
	r.reloaded()
	say = connect(t, listen)
	say("EHLO x.", "250")
	say("QUIT", "")
	r.logged("rules=fix-hello-name")
}

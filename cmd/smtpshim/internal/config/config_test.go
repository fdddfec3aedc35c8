package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/header"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// Beside each file with mistakes lies what is said about it. A line of that
// which ends in "..." is only the beginning: the rest are words of others. DIR is the
// directory of the files.
func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	configtest.Dir(t, "testdata")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		expected := strings.TrimSuffix(file, ".toml") + ".err"
		want, err := os.ReadFile(expected)
		if os.IsNotExist(err) {
			if _, err := Read(file, tlspolicy.SelfSigned); err != nil {
				t.Errorf("a good file is refused:\n%v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = Read(file, tlspolicy.SelfSigned)
		if err == nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		got := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
		if sameLines(got, string(want)) {
			continue
		}
		if *update {
			write(t, filepath.Join(here, "testdata", expected), got)
			continue
		}
		t.Errorf("%s:\n got:\n%s\nwant:\n%s", file, got, want)
	}
}

func sameLines(got, want string) bool {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(g) != len(w) {
		return false
	}
	for i := range g {
		beginning, open := strings.CutSuffix(w[i], "...")
		if g[i] != w[i] && (!open || !strings.HasPrefix(g[i], beginning)) {
			return false
		}
	}
	return true
}

func TestWhatTheFileSaysIsInForce(t *testing.T) {
	configtest.Dir(t, "testdata")
	c := mustRead(t, "everything.toml")
	if c.Drain != time.Minute || c.Admin != "" || c.Level != slog.LevelDebug || c.Format != "json" || len(c.Routes) != 2 {
		t.Fatalf("%+v", c)
	}
	in, out := c.Routes[0], c.Routes[1]
	for what, same := range map[string]bool{
		"name":          in.Name == "in" && out.Name == "out",
		"listen":        reflect.DeepEqual(in.Listen, []string{"[::1]:2525", "127.0.0.1:2525"}),
		"servers":       reflect.DeepEqual(in.Servers, []string{"mail.example.com:25", "[2001:db8::1]:2525"}),
		"rules":         len(in.Rules.Names()) > 1 && !strings.Contains(strings.Join(in.Rules.Names(), " "), "translate-xauth"),
		"no rules":      slices.Equal(out.Rules.Names(), []string{"stray-bytes"}),
		"client mode":   in.ClientTLS.Mode == rewrite.ClientTLSRequire,
		"certificate":   len(in.Client.Store.Infos()) == 1,
		"server mode":   in.ServerTLS.Mode == rewrite.ServerTLSRequire,
		"server name":   in.Server.ServerName == "mail.example.net",
		"authorities":   in.Server.Roots != nil && out.Server.Roots == nil,
		"verified":      in.Server.Verification == tlspolicy.Verified,
		"not verified":  out.Server.Verification == tlspolicy.Unverified,
		"TLS 1.2":       in.Client.Acceptor.Config(netip.Addr{}).MinVersion == 0x303 && in.Server.Dialer.Config("").MinVersion == 0x303,
		"networks":      reflect.DeepEqual(in.ProxyFrom, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}),
		"XCLIENT":       in.XCLIENTSend == rewrite.XCLIENTRequired && out.XCLIENTSend == rewrite.XCLIENTNever && len(out.XCLIENTFrom) == 0,
		"XCLIENT from":  reflect.DeepEqual(in.XCLIENTFrom, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}),
		"header":        in.ProxySend == header.V1 && out.ProxySend == header.None,
		"limit":         in.Limits.Sessions == 10 && out.Limits.Sessions == 1000,
		"timeout":       in.Timeouts.Command == 90*time.Minute && out.Timeouts.Command == 5*time.Minute,
		"other default": in.Limits.Errors == 20 && in.Timeouts.DataEnd == 10*time.Minute,
	} {
		if !same {
			t.Errorf("%s is not as the file says: %+v", what, in)
		}
	}
}

func TestAMissingFileIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	_, err := Read(path, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	text := err.Error()
	if strings.Count(text, path) != 1 || strings.Contains(text, "open") || !strings.Contains(text, "-config names another file") {
		t.Errorf("%s", text)
	}
}

func TestTextWithoutQuotesIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		`mode = offer`:                    `"offer"`,
		`  mode=offer # "quoted"`:         `"offer"`,
		`connect = 30s`:                   `"30s"`,
		`certificate = /etc/mail.pem`:     `"/etc/mail.pem"`,
		`listen = [:25]`:                  `":25"`,
		`servers = [ 192.0.2.1:25, x:25]`: `"192.0.2.1:25"`,
		`hide = {mode = hide}`:            `"hide"`,
		`verify = False`:                  `write false`,
		`a = 1 2`:                         `"1 2"`,
		`name = "a" b`:                    ``,
		`name = "a = b`:                   ``,
		`names = ["a, b", 'c = d'`:        ``,
		`sessions = 007`:                  ``,
		`until = 2027-13-01`:              ``,
		`mode =`:                          ``,
		`mode`:                            ``,
		`# mode = offer`:                  ``,
		`[route = x]`:                     ``,
	} {
		path := filepath.Join(t.TempDir(), "quotes.toml")
		write(t, path, "# mode = this\n"+line+"\n")
		if hint := hintQuotes("\n"+line, 2); want == "" && hint != "" || !strings.Contains(hint, want) {
			t.Errorf("%s: %q, want %q", line, hint, want)
		}
		if _, err := openSource(path); err == nil && line[0] != '#' || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func TestWarningsNameWhatMayBeAMistake(t *testing.T) {
	const route = "[[route]]\nname = \"in\"\nservers = [\"192.0.2.1:25\"]\n"
	const toAll = "listen = [\":25\"]\nproxy_protocol.send = \"v2\"\n"
	configtest.Dir(t, "testdata")
	for _, c := range []struct{ what, text, want string }{
		{"nothing", "listen = [\"127.0.0.1:25\", \"[::1]:25\", \"localhost:26\"]\n", ""},
		{"open to others", "listen = [\"127.0.0.1:25\", \"192.0.2.2:25\", \":26\"]\n", "192.0.2.2:25, :26"},
		{"open to some others", "listen = [\":25\"]\nclients = [\"192.0.2.0/24\"]\n", ""},
		{"open to everybody, as it is written", "listen = [\":25\"]\nclients = [\"0.0.0.0/0\", \"::/0\"]\n", ""},
		{"open to others, and the server sees who they are", "listen = [\":25\"]\nproxy_protocol.send = \"v2\"\n", ""},
		{"anybody's header", "listen = [\"127.0.0.1:25\"]\nproxy_protocol.accept_from = [\"0.0.0.0/0\", \"192.0.2.0/24\"]\n", "accept_from has 0.0.0.0/0"},
		{"open to others, and the server is told who they are", "listen = [\":25\"]\nclient_tls.mode = \"hide\"\nxclient.send = \"require\"\n", ""},
		{"open to others, and the server may be told", "listen = [\":25\"]\nclient_tls.mode = \"hide\"\nxclient.send = \"offered\"\n", ":25"},
		{"anybody's XCLIENT", "listen = [\"127.0.0.1:25\"]\nxclient.accept_from = [\"::/0\"]\n", "accept_from has ::/0"},
		{"not verified", "listen = [\"127.0.0.1:25\"]\nserver_tls = {mode = \"require\", verify = false}\n", "verify = false"},
		{"clients in clear log in", toAll + "server_tls.mode = \"require\"\n", "auth_in_clear"},
		{"clients in clear log in to implicit TLS", toAll + "server_tls.mode = \"implicit\"\n", "client_tls.mode"},
		{"clients in clear may log in", toAll + "server_tls = {mode = \"opportunistic\", auth_in_clear = \"allow\"}\n", "auth_in_clear"},
		{"clients in clear see what is offered in clear", toAll + "server_tls.mode = \"opportunistic\"\n", ""},
		{"clients in clear may not log in", toAll + "server_tls = {mode = \"require\", auth_in_clear = \"refuse\"}\n", ""},
		{"clients of this machine log in", "listen = [\"127.0.0.1:25\"]\nserver_tls.mode = \"require\"\n", ""},
		{"no client is in clear", toAll + "client_tls = {mode = \"require\", certificate = \"cert.pem\", key = \"key.pem\"}\nserver_tls.mode = \"require\"\n", ""},
		{"no repeat-ehlo", "listen = [\"127.0.0.1:25\"]\nrules = []\nserver_tls.mode = \"opportunistic\"\n", "repeat-ehlo"},
		{"implicit TLS needs no repeat-ehlo", "listen = [\"127.0.0.1:25\"]\nrules = []\nserver_tls.mode = \"implicit\"\n", ""},
		{"an option of a rule that is not in force", "listen = [\"127.0.0.1:25\"]\nrules = [\"standard\", \"-fix-hello-name\"]\n" +
			"options.fix-hello-name.domain = \"example.com\"\n", `route.options.fix-hello-name.domain does nothing: the rule fix-hello-name is not in force in route "in"`},
		{"an option of a rule that is in force", "listen = [\"127.0.0.1:25\"]\noptions.fix-hello-name.domain = \"example.com\"\n", ""},
		{"a rule without options, and without itself", "listen = [\"127.0.0.1:25\"]\nrules = []\noptions.fix-hello-name = {}\n", ""},
		{"ended", "listen = [\"127.0.0.1:25\"]\nclient_tls = {mode = \"offer\", certificate = \"old-cert.pem\", key = \"key.pem\"}\n", "expired"},
	} {
		write(t, "warn.toml", route+c.text)
		got := mustRead(t, "warn.toml").Routes[0].Warnings(time.Now())
		if c.want == "" && got != nil || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestAPortThatWantsTLSInTheOtherWayIsWarnedOf(t *testing.T) {
	configtest.Dir(t, "testdata")
	for _, c := range []struct{ port, mode, want string }{
		{"465", "require", `write mode = "implicit", or port 587`},
		{"465", "opportunistic", `write mode = "implicit", or port 587`},
		{"587", "implicit", `write mode = "require", or port 465`},
		{"465", "implicit", ""}, {"587", "require", ""}, {"465", "off", ""},
	} {
		write(t, "warn.toml", "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:25\"]\nservers = [\"192.0.2.1:"+c.port+"\"]\nserver_tls.mode = \""+c.mode+"\"\n")
		got := warnPorts(mustRead(t, "warn.toml").Routes[0])
		if c.want == "" && got != nil || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s %s: %q, want %q", c.port, c.mode, got, c.want)
		}
	}
}

// A [[route.replace]] is a rule like the others, in logs, metrics, on the page and in
// recordings, under its own name.
func TestAReplacementIsARuleOfItsOwn(t *testing.T) {
	c := readText(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nrules = [\"reply-codes\"]\n"+
		"[[route.replace]]\nname = \"noop\"\non = \"reply\"\nverbs = [\"NOOP\"]\nmatch = \"^220\"\ncode = 250\nclients = [\"192.0.2.0/24\"]\n"+
		"[[route.replace]]\nname = \"help\"\non = \"command\"\nverbs = [\"HELP\"]\nmatch = \".\"\nwith = \"5.5.1 no help\"\ncode = 502\n")
	r := c.Routes[0]
	if got, want := r.Rules.Names(), []string{"stray-bytes", "reply-codes", "replace-noop", "replace-help"}; !slices.Equal(got, want) {
		t.Errorf("the rules in force are %q, want %q", got, want)
	}
	if got, want := r.Rules.Scope("replace-noop"), "clients 192.0.2.0/24"; got != want {
		t.Errorf("the scope is %q, want %q", got, want)
	}
	if got, want := r.Setup().Options["replace-noop"], map[string]any{"on": "reply", "verbs": []string{"NOOP"}, "match": "^220",
		"code": int64(250), "clients": []string{"192.0.2.0/24"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("a recording has the options %v, want %v", got, want)
	}
	if len(r.idle) > 0 {
		t.Errorf("idle options: %v", r.idle)
	}
}

func TestLongLinesCanBeEncodedByTheKeyOfARoute(t *testing.T) {
	c := readText(t, "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nrules = []\nlong_lines = \"encode\"\n")
	if got := c.Routes[0].Setup().Options["long-lines"]["mode"]; got != "encode" {
		t.Errorf("the mode of long-lines is %v", got)
	}
}

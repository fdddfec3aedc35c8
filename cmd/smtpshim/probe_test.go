package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/probe"
	"smtpshim/proxy/smtptest"
)

// A standInProbe is what a probe with MAIL and a message finds of a stand-in: "name entry"
// of each fault, and behind "~" of what it is strict about. Besides, each is strict about
// LF alone, and about blanks at the colon of MAIL if it takes MAIL.
type standInProbe struct {
	finds, mended, remains []string // remains: through the route
	client                 string   // the sender whose mail is to arrive; "": a modern one
	noMail                 string   // why no mail can arrive
	unseen                 string   // what it gets wrong besides, that a probe cannot see
}

var standInProbes = map[string]standInProbe{
	"exchange-5.0":     {finds: []string{"no-esmtp L02", "xauth L30"}, client: "needs-esmtp"},
	"exchange-5.5":     {finds: []string{"second-ehlo L23"}, client: "exchange-5.0", unseen: "that it seals the stream behind a login"},
	"iis-4":            {finds: []string{"names L25", "tls-forgotten L107", "tls-wanted L107"}, mended: []string{"tls-wanted L107"}, client: "exchange-5.5"},
	"iis-5":            {finds: []string{"ntlm-prompt L34", "names L25", "tls-forgotten L107", "tls-wanted L107"}, mended: []string{"ntlm-prompt L34", "tls-wanted L107"}, client: "notes"},
	"mcis-2":           {finds: []string{"names L25"}, client: "notes"},
	"exchange-2003":    {finds: []string{"ntlm-prompt L34"}},
	"sendmail-8.6":     {finds: []string{"ehlo-refused L21"}},
	"modern":           {client: "windows-2003"},
	"microsoft-365":    {noMail: "it wants a login"},
	"direct-send":      {noMail: "it wants a certificate"},
	"gmail":            {finds: []string{"~tls-wanted"}, noMail: "it wants a login"},
	"exchange-4.0":     {finds: []string{"ehlo-refused L21"}, mended: []string{"ehlo-refused L21"}, unseen: "that it cuts messages at dots (L66): its reply is 250"},
	"mail-gateway-3.0": {finds: []string{"no-host-name L03", "ehlo-hangs-up L20", "unknown-hangs-up L110", "empty-texts L61"}, mended: []string{"ehlo-refused L21"}, remains: []string{"unknown-hangs-up L110"}},
	"vm-smtp":          {finds: []string{"ehlo-refused L21", "~names L25"}, mended: []string{"ehlo-refused L21"}, client: "notes"},
	"domino":           {finds: []string{"auth-equals L30", "~names L25"}},
	"groupwise":        {finds: []string{"no-esmtp L02"}},
	"mdaemon":          {finds: []string{"~names L25"}},
	"raptor":           {finds: []string{"ehlo-refused L21"}, mended: []string{"no-esmtp L02"}},
	"interlock":        {finds: []string{"no-last-line L82"}},
	"fw-1":             {finds: []string{"no-host-name L03", "ehlo-refused L21", "noop L53"}, mended: []string{"no-host-name L03", "ehlo-refused L21"}},
	"message-guard":    {finds: []string{"ehlo-refused L21", "long-lines L118"}, mended: []string{"ehlo-refused L21"}},
	"cisco-pix":        {finds: []string{"painted-greeting L06", "ehlo-painted L07"}},
	"cisco-pix-noop":   {finds: []string{"painted-greeting L06", "ehlo-painted L07"}},
	"imagerunner":      {finds: []string{"no-host-name L03", "ehlo-refused L21", "~names L25"}, mended: []string{"no-host-name L03", "ehlo-refused L21"}},
	"bizhub":           {finds: []string{"empty-texts L61", "no-host-name L03", "ehlo-refused L21", "~names L25"}, mended: []string{"ehlo-refused L21"}},
	"panasonic-dp":     {finds: []string{"no-host-name L03", "no-last-line L82", "no-esmtp L02"}, mended: []string{"no-host-name L03", "no-esmtp L02"}},
	"watchguard":       {finds: []string{"no-host-name L03", "no-esmtp L02"}, mended: []string{"no-host-name L03", "no-esmtp L02"}, unseen: "that it takes AUTH out of the EHLO reply (L117): a server may have none"},
	"office-365":       {finds: []string{"first-ehlo L128"}},
	"modern-strict":    {finds: []string{"~parameters L40"}},
}

// probeStandIn examines a stand-in with MAIL and a message.
func probeStandIn(t *testing.T, server smtptest.Server) probed {
	t.Helper()
	running, err := startStandIn(server, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	p := probing{server: running.Addr(), host: "mail.example.com", name: "client.example.com", mail: "anna@example.com", to: "ben@example.net", message: true,
		proxy: true, wait: time.Minute, rest: 300 * time.Millisecond, linger: 20 * time.Millisecond, progress: &progress{}}
	found, err := p.examine(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	running.Wait() // no session is left
	if n := len(running.Messages()); n > 1 {
		t.Errorf("%d messages were left", n)
	}
	for i, d := range running.Dialogues() {
		if said := d.Said("C"); !server.Closes && (len(said) == 0 || said[len(said)-1] != "QUIT") {
			t.Errorf("session %d did not end with QUIT: %q", i, said)
		}
	}
	return found
}

// findingNames are those of findings with their entries, strict ones behind "~", without
// what every stand-in is strict about.
func findingNames(r probe.Report) (list []string) {
	for _, f := range r.Findings {
		name := strings.TrimSpace(f.Name + " " + f.Entry)
		switch {
		case f.Kind == probe.Fault:
			list = append(list, name)
		case f.Kind == probe.Strict && f.Name != "line-feed" && f.Name != "mail-forms":
			list = append(list, "~"+name)
		}
	}
	return list
}

// withTLS gives a stand-in that offers STARTTLS a certificate.
func withTLS(t *testing.T, s smtptest.Server) smtptest.Server {
	t.Helper()
	if slices.ContainsFunc(s.Ehlo, func(text smtptest.Text) bool { return text.Line == "STARTTLS" }) {
		certificate, _, err := smtptest.Certificate("mail.example.com")
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	return s
}

func TestAProbeFindsTheFaultsOfTheStandInsAndARouteThatHealsThem(t *testing.T) {
	t.Parallel()
	for i, server := range smtptest.Servers() {
		want, ok := standInProbes[server.Name]
		if !ok {
			t.Errorf("nothing is known of what a probe finds of %s", server.Name)
			continue
		}
		if smtptest.RaceDetected() && i >= 4 {
			continue // the same code, with other answers
		}
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			server := withTLS(t, server)
			found := probeStandIn(t, server)
			if got := findingNames(found.Without); !slices.Equal(got, want.finds) {
				t.Errorf("it finds %q, not %q", got, want.finds)
			}
			if got := findingNames(*found.With); !slices.Equal(got, want.remains) {
				t.Errorf("through the route %q remains, not %q, of\n%s", got, want.remains, found.Route)
			}
			if found.remains() != (want.remains != nil) {
				t.Errorf("that something remains is %v", found.remains())
			}
			if want.noMail == "" {
				deliverThrough(t, server, found.Route, want.client)
			}
			if mended, ok := server.Mended(); ok {
				if got := findingNames(probeStandIn(t, mended).Without); !slices.Equal(got, want.mended) {
					t.Errorf("mended, it shows %q, not %q", got, want.mended)
				}
			}
		})
	}
}

// deliverThrough has a sender deliver through a route of a configuration, whose server is
// another than was examined.
func deliverThrough(t *testing.T, server smtptest.Server, route, sender string) {
	t.Helper()
	running, err := startStandIn(server, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	examined := regexp.MustCompile(`servers = \["[^"]*"\]`)
	address, stop, err := startProposed(examined.ReplaceAllString(route, fmt.Sprintf("servers = [%q]", running.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client, ok := smtptest.LookupClient(cmp.Or(sender, "modern"))
	if !ok {
		t.Fatalf("there is no client %s", sender)
	}
	client.Timeout = time.Minute
	message := demoMessage
	message.Body = slices.Concat([]byte("Subject: "+strings.Repeat("word ", 60)+"end\r\n"), message.Body)
	results := client.DeliverUntilDone(dialer(address), message, attempts)
	running.Wait()
	if last := results[len(results)-1]; last.Outcome != smtptest.Delivered || len(running.Messages()) != 1 {
		t.Errorf("mail of %s does not arrive through\n%s\n%s", client.Name, route, last.Dialogue)
	}
}

func TestAProbeSaysWhatItFindsAndTheRouteIsRight(t *testing.T) {
	t.Parallel()
	server := simulated(t, "iis-4", nil)
	args := []string{"probe", "-pause", "0s", "-name", "client.example.com"}
	status, out, errs := call(append(args, server.Addr())...)
	if status != succeeded || errs != "" {
		t.Fatalf("status %d, %q", status, errs)
	}
	wantInOrder(t, strings.Join(strings.Fields(out), " "), "C: EHLO host.example.com. S: 501 Invalid Address", "Fault: it refuses a name with a dot",
		"Catalogue: L25", "Strict: ", "Note: ", server.Addr()+": 1 fault.", `rules = ["standard"]`, "without: 1 fault", "with: 0 faults",
		"the signs of iis-4", "Not tried:", "MAIL is sent with -mail ADDRESS only")
	for line := range strings.Lines(out) {
		if n := width(line); n >= columns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	_, route, _ := strings.Cut(out, "  [[route]]\n")
	route, _, _ = strings.Cut(route, "\n\n")
	file := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, file, "[[route]]\n"+route+"\n")
	if status, _, errs := call("check", "-config", file); status != succeeded {
		t.Errorf("the route is not right: %s", errs)
	}

	status, out, _ = call(append(args, "-json", "-proxy=false", server.Addr())...)
	var found probed
	if err := json.Unmarshal([]byte(out), &found); err != nil || status != failed || !found.Without.Has("names") || found.With != nil || found.Route == "" {
		t.Errorf("status %d, %v, %s", status, err, out)
	}
}

func TestAProbeOfAModernServerHasNothingToHeal(t *testing.T) {
	t.Parallel()
	server := simulated(t, "modern", nil)
	status, out, _ := call("probe", "-pause", "0s", server.Addr())
	if status != succeeded || !strings.Contains(out, server.Addr()+": nothing to heal.\n") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// What could not be examined is not taken for healed.
func TestAProbeSaysThatItCouldNotExamineAll(t *testing.T) {
	t.Parallel()
	server, ok := smtptest.LookupServer("iis-4")
	if !ok {
		t.Fatal("there is no server iis-4")
	}
	running, err := startStandIn(server, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	server.Greeting = []smtptest.Text{{Line: "554 no"}}
	refusing, err := startStandIn(server, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer refusing.Close()

	args := []string{"probe", "-pause", "0s", "-name", "client.example.com"}
	status, out, _ := call(append(args, refusing.Addr())...)
	if status != failed || !strings.Contains(out, refusing.Addr()+" was not examined to the end: its greeting is a refusal.\n") || strings.Contains(out, "nothing to heal") {
		t.Errorf("status %d\n%s", status, out)
	}

	_, out, _ = call(append(args, "-json", "-proxy=false", running.Addr())...)
	var found probed
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	status, out, _ = call(append(args, takesSessions(t, found.Without.Connections, running.Addr(), refusing.Addr()))...)
	if status != failed || !strings.Contains(out, "with:    0 faults, strict about 0; not examined to the end: its greeting is a refusal\n") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// takesSessions leads so many connections to one server, and all others to another.
func takesSessions(t *testing.T, n int, first, then string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for ; ; n-- {
			from, err := l.Accept()
			if err != nil {
				return
			}
			where := first
			if n <= 0 {
				where = then
			}
			to, err := net.Dial("tcp", where)
			if err != nil {
				from.Close()
				continue
			}
			go func() { io.Copy(to, from); to.Close() }()
			go func() { io.Copy(from, to); from.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestAProbeThatIsUsedWronglySaysWhatWouldBeRight(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "HOST is missing",
		"mail.example.com:smtps:25":              "HOST is not right",
		"-mail anna mail.example.com":            `-mail "anna" is no address; write one such as anna@example.com`,
		"-mail a>b@example.com mail.example.com": "is no address",
		"-message mail.example.com":              "-message needs -mail ADDRESS",
		"-to ben@example.com mail.example.com":   "-to is for -message",
		"-name a_b! mail.example.com":            "is no name for EHLO",
		"-wait 0s mail.example.com":              "-wait and -timeout must be more than 0",
		"mail.example.com mail.example.net":      "one word too many",
	} {
		if status, _, errs := call(append([]string{"probe"}, strings.Fields(args)...)...); status != misused || !strings.Contains(errs, want) {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
}

func TestAProbeOfNobodyFails(t *testing.T) {
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	status, _, errs := call("probe", address)
	if status != failed || !strings.Contains(errs, "smtpshim probe: server "+address+": connecting: ") {
		t.Errorf("status %d, %q", status, errs)
	}
}

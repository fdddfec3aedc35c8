package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

// A loginRecipe is a recipe with logins, on a machine that has its addresses and the
// names of its provider.
type loginRecipe struct {
	recipe
	ca       *real.CA
	provider *smtptest.Running
	dir      string // of the configuration
}

// followLogin follows a recipe up to where smtpshim serves. The provider listens at
// 192.0.2.140, by the name host.
func followLogin(t *testing.T, name, host, port string, provider smtptest.Server) (r loginRecipe, s shim) {
	t.Helper()
	r = loginRecipe{recipe: readRecipe(t, name), ca: real.NewCA(t), dir: real.Dir(t)}
	certificate, key := r.ca.Issue(t, host)
	writeRecipeFiles(t, r.dir)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, filepath.Join(r.dir, "relay.pem"))))
	write(t, filepath.Join(r.dir, "exchange.pem"), read(t, r.ca.File))
	real.OwnMachine(t, "192.0.2.1 shim\n192.0.2.65 scanner\n192.0.2.66 scale\n192.0.2.70 ibmi\n192.0.2.71 sap\n192.0.2.25 exchange\n192.0.2.7 other\n"+
		"192.0.2.130 old\n192.0.2.140 "+host+"\n192.0.2.141 login.microsoftonline.com\n")
	provider.TLS = &tls.Config{Certificates: []tls.Certificate{pair(t, certificate, key)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots}
	at := "192.0.2.140:" + port
	if host == "mail.example.com" {
		at = "192.0.2.130:" + port
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if port == "465" {
		l = tls.NewListener(l, provider.TLS)
		provider.RequiresTLS, provider.AuthSecure = false, false // there is no STARTTLS, and the stand-in sees none
	}
	r.provider = provider.Start(l)
	t.Cleanup(func() { r.provider.Close() })
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(r.dir, "smtpshim.toml")
	write(t, config, strings.ReplaceAll(r.blocks("toml")[0], "/var/lib/smtpshim", filepath.Join(r.dir, "state")))
	serveTokens(t, r.ca, provider.Token)
	s.proc, s.log = real.StartLogged(t, []string{"SSL_CERT_FILE=" + r.ca.File}, path, "run", "-config", config)
	s.logged(t, "msg=started")
	return r, s
}

func pair(t *testing.T, certificate, key string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serveTokens is Microsoft's token endpoint, which wants what the recipes say.
func serveTokens(t *testing.T, ca *real.CA, token string) {
	t.Helper()
	certificate, key := ca.Issue(t, "login.microsoftonline.com")
	l, err := net.Listen("tcp", "192.0.2.141:443")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		_, secret, _ := r.BasicAuth()
		proved := secret == "made-up-secret" || r.PostForm.Get("client_secret") == "made-up-secret" ||
			r.PostForm.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" && strings.Count(r.PostForm.Get("client_assertion"), ".") == 2
		if r.URL.Path != "/example.onmicrosoft.com/oauth2/v2.0/token" || r.PostForm.Get("grant_type") != "client_credentials" ||
			r.PostForm.Get("scope") != "https://outlook.office365.com/.default" || !proved {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_request"})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3599})
	})}
	var served sync.WaitGroup
	served.Go(func() {
		server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair(t, certificate, key)}}))
	})
	t.Cleanup(func() { server.Close(); served.Wait() })
}

// office is Microsoft 365 with a token as long as its own.
func office() smtptest.Server {
	s, _ := smtptest.LookupServer("microsoft-365")
	s.Token = strings.Repeat("made-up.", 200)
	return s
}

// sent wants so many messages at the provider, and returns the last.
func (r loginRecipe) sent(messages int) smtptest.Message {
	r.t.Helper()
	real.Wait(r.t, "mail at the provider", func() bool { return len(r.provider.Messages()) >= messages })
	if got := len(r.provider.Messages()); got != messages {
		r.t.Fatalf("%d messages at the provider, not %d", got, messages)
	}
	return r.provider.Messages()[messages-1]
}

// as says the recipe's command from an address, with more.
func (r loginRecipe) as(from, more string) (output string, err error) {
	r.t.Helper()
	return r.swaks(from + " " + more)
}

// refused wants that command to be refused with this reply, and nothing to be sent.
func (r loginRecipe) refused(from, more, reply string) {
	r.t.Helper()
	if out, err := r.as(from, more); err == nil || !strings.Contains(out, reply) {
		r.t.Errorf("from %s %s: %v, not %q, but\n%s", from, more, err, reply, out)
	}
}

func (r loginRecipe) passes(from, more string) {
	r.t.Helper()
	if out, err := r.as(from, more); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
}

func TestRecipeScannersToMicrosoft365(t *testing.T) {
	t.Parallel()
	r, s := followLogin(t, "scanners-microsoft-365.md", "smtp.office365.com", "587", office())
	r.passes("192.0.2.65", "")
	if m := r.sent(1); m.From != "scanner@example.com" {
		t.Errorf("the sender is %q", m.From)
	}
	s.logged(t, "route=scanners", "client=192.0.2.65", "server=smtp.office365.com:587", "server_tls=1.3")
	r.passes("192.0.2.65", "--auth LOGIN --auth-user admin --auth-password whatever")
	r.sent(2)
	r.refused("192.0.2.7", "", "554 ")
	if said := r.provider.Dialogues()[0].String(); !strings.Contains(said, "C: AUTH XOAUTH2\nS: 334 \n") {
		t.Errorf("a long token is not in a line of its own:\n%s", said)
	}
	r.sent(2)
}

func TestRecipeGmailWithAnAppPassword(t *testing.T) {
	t.Parallel()
	provider, _ := smtptest.LookupServer("gmail")
	provider.User, provider.Password = "scale@example.com", "abcdefghijklmnop"
	r, s := followLogin(t, "gmail-app-password.md", "smtp.gmail.com", "465", provider)
	r.passes("192.0.2.66", "")
	if m := r.sent(1); m.From != "scale@example.com" {
		t.Errorf("the sender is %q", m.From)
	}
	s.logged(t, "route=scale", "client=192.0.2.66", "server=smtp.gmail.com:465")
	r.refused("192.0.2.66", "--auth-password wrong", "535 5.7.8")
	r.refused("192.0.2.7", "", "")
	r.sent(1)
}

func TestRecipeIBMiAndSAPByAuthLogin(t *testing.T) {
	t.Parallel()
	r, s := followLogin(t, "erp-auth-login.md", "smtp.office365.com", "587", office())
	r.passes("192.0.2.71", "")
	if m := r.sent(1); m.From != "invoices@example.com" {
		t.Errorf("the sender is %q", m.From)
	}
	s.logged(t, "route=erp", "client=192.0.2.71", "server=smtp.office365.com:587")
	r.refused("192.0.2.71", "--from boss@example.com", "550 5.7.60")
	r.refused("192.0.2.70", "", "535 5.7.8")
	for _, login := range [][]string{{"AUTH LOGIN SUJNSQ==", "cXNlY29mcjk="}, {"AUTH LOGIN", "SUJNSQ==", "cXNlY29mcjk="}} { // the name on the AUTH line, and not
		said := append(append([]string{"EHLO ibmi.example.com"}, login...), "MAIL FROM:<qsys@example.com>")
		if got := talkFrom(t, "192.0.2.70", "192.0.2.1:587", said...); !strings.HasPrefix(got, "+250 2.1.0 Sender OK") {
			t.Errorf("%q ends with %q", said, got)
		}
	}
	r.passes("192.0.2.70", "--auth-user IBMI --auth-password qsecofr9")
	if m := r.sent(2); m.From != "erp@example.com" {
		t.Errorf("the sender is %q", m.From)
	}
}

func TestRecipeExchange55ByNTLMToOAuth(t *testing.T) {
	t.Parallel()
	r, s := followLogin(t, "exchange-5.5-oauth.md", "smtp.office365.com", "587", office())
	dial := func() (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25)}}
		return d.Dial("tcp", "192.0.2.1:25")
	}
	message := smtptest.Message{From: "anna@example.com", To: []string{"ben@example.net"}, Body: []byte("Subject: Hello\r\n\r\nHello Ben.\r\n")}
	sent := 0
	for _, name := range []string{"exchange-5.0", "exchange-5.5"} {
		c, _ := smtptest.LookupClient(name)
		if name == "exchange-5.5" {
			c = c.WithAuth(smtptest.AuthInitial)
		}
		c.Password, c.AsksSeal = "nt4-sp6a", true
		result := c.Deliver(dial, message)
		if result.Outcome != smtptest.Delivered {
			t.Fatalf("%s: %v %q %v\n%s\n%s", name, result.Outcome, result.NDR, result.Err, result.Dialogue, s.log)
		}
		sent++
		if m := r.sent(sent); m.From != "anna@example.com" {
			t.Errorf("%s: the sender is %q", name, m.From)
		}
		c.Password = "wrong"
		if result := c.Deliver(dial, message); result.Outcome != smtptest.Bounced || !strings.HasPrefix(result.NDR, "535") {
			t.Errorf("%s with a wrong password: %v %q", name, result.Outcome, result.NDR)
		}
	}
	s.logged(t, "route=exchange-out", "client=192.0.2.25", "server=smtp.office365.com:587")
	r.sent(sent)
}

func TestRecipeModernClientToAnExchangeWithNTLMOnly(t *testing.T) {
	t.Parallel()
	provider, _ := smtptest.LookupServer("exchange-2003")
	provider.Password, provider.RequiresAuth = "nt4-sp6a", true
	provider.Replies.NeedAuth = smtptest.Text{Line: "530 5.7.1 Client was not authenticated", Evidence: "assumed: RFC 4954, 6"}
	r, s := followLogin(t, "exchange-ntlm-only.md", "mail.example.com", "587", provider)
	r.passes("192.0.2.7", "")
	if m := r.sent(1); m.From != "monitor@example.com" {
		t.Errorf("the sender is %q", m.From)
	}
	s.logged(t, "route=programs", "server=192.0.2.130:587")
	r.refused("192.0.2.7", "--auth-password wrong", "535 5.7.8")
	r.sent(1)
}

func TestRecipeTheEndOfDirectSend(t *testing.T) {
	t.Parallel()
	provider, _ := smtptest.LookupServer("direct-send")
	const host = "example-com.mail.protection.outlook.com"
	r, s := followLogin(t, "direct-send-certificate.md", host, "25", provider)
	r.passes("192.0.2.65", "")
	r.sent(1)
	s.logged(t, "route=direct-send", "client=192.0.2.65", "server="+host+":25")
	r.refused("192.0.2.7", "", "<** 554 ")
	if out, err := r.as("192.0.2.65", "--server "+host+" --tls"); err == nil || !strings.Contains(out, "550 5.7.68") {
		t.Errorf("without smtpshim: %v\n%s", err, out)
	}
	r.sent(1)
}

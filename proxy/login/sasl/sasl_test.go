package sasl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/sasl/sasltest"
)

// The secrets of the tests; nothing that is printed may hold them.
const (
	password = "Tr0ub4dor&3"
	token    = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
)

func hash(t *testing.T, password string) sasl.Secret {
	t.Helper()
	sum, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sasl.Hash(string(sum))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func users(t *testing.T, list ...sasl.User) sasl.Lookup {
	t.Helper()
	l, err := sasl.Users(list...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func realm(t *testing.T, secret sasl.Secret) sasl.Realm {
	t.Helper()
	return sasl.Realm{
		Lookup: users(t, sasl.User{Name: "Scanner", Secret: secret}, sasl.User{Name: "other", Secret: sasl.Password("other")}),
		Host:   "mail.example.com",
	}
}

func newServer(t *testing.T, mechanism string, r sasl.Realm) sasl.Server {
	t.Helper()
	s, err := sasl.NewServer(mechanism, r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newClient(t *testing.T, mechanism string, who sasl.Identity) sasl.Client {
	t.Helper()
	c, err := sasl.NewClient(mechanism, who)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != mechanism {
		t.Errorf("the client of %s calls itself %s", mechanism, c.Name())
	}
	return c
}

// exchange lets a client and a server talk, over base64 as on the wire. Onto the
// AUTH line goes the initial response, unless prompted.
func exchange(c sasl.Client, s sasl.Server, prompted bool) error {
	response, err := c.Start()
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	var held []byte
	if prompted {
		held, response = response, nil
	}
	if response != nil {
		if response, err = sasl.DecodeResponse(sasl.EncodeInitial(response), true); err != nil {
			return err
		}
	}
	for range 10 {
		challenge, done, err := s.Next(response)
		if err != nil {
			return err
		}
		if done {
			return sasl.Accept(c)
		}
		if held != nil {
			response, held = held, nil
			continue
		}
		if challenge, err = sasl.DecodeChallenge(c.Name(), sasl.Encode(challenge)); err != nil {
			return err
		}
		if response, err = c.Next(challenge); err != nil {
			return fmt.Errorf("client: %w", err)
		}
		if response == nil {
			return errors.New("the client's response is nil")
		}
		if response, err = sasl.DecodeResponse(sasl.Encode(response), false); err != nil {
			return err
		}
	}
	return errors.New("no end")
}

func passwordMechanisms() []string {
	return sasl.Mechanisms(sasl.Password(password))
}

func TestWhoHasThePasswordLogsIn(t *testing.T) {
	for _, mechanism := range passwordMechanisms() {
		for _, prompted := range []bool{false, true} {
			for _, user := range []string{"Scanner", "scanner", "SCANNER"} {
				s := newServer(t, mechanism, realm(t, sasl.Password(password)))
				if s.User() != "" {
					t.Errorf("%s: %s before the exchange", mechanism, s.User())
				}
				c := newClient(t, mechanism, sasl.Identity{User: user, Password: sasl.Password(password)})
				if err := exchange(c, s, prompted); err != nil {
					t.Errorf("%s, prompted %v, %s: %v", mechanism, prompted, user, err)
				} else if s.User() != "Scanner" {
					t.Errorf("%s: %q has logged in", mechanism, s.User())
				}
				if _, done, err := s.Next([]byte("again")); done || !errors.Is(err, sasl.ErrMalformed) {
					t.Errorf("%s goes on after its end: %v, %v", mechanism, done, err)
				}
			}
		}
	}
}

func TestWhoHasNotThePasswordIsRefused(t *testing.T) {
	for _, mechanism := range passwordMechanisms() {
		for _, test := range []struct{ user, password string }{
			{"Scanner", "Wr0ng"}, {"Scanner", "other"}, {"Scanner", strings.ToLower(password)},
			{"Scanner", password + " "}, {"nobody", password}, {"Scanner\u00e9", password}, {"other", password},
		} {
			s := newServer(t, mechanism, realm(t, sasl.Password(password)))
			c := newClient(t, mechanism, sasl.Identity{User: test.user, Password: sasl.Password(test.password)})
			err := exchange(c, s, false)
			if !errors.Is(err, sasl.ErrRefused) || s.User() != "" {
				t.Errorf("%s, %v: %v, %q has logged in", mechanism, test, err, s.User())
			}
			if strings.Contains(fmt.Sprint(err), test.password) {
				t.Errorf("%s: the error %q holds the password", mechanism, err)
			}
			if _, done, err := s.Next([]byte("again")); done || err == nil {
				t.Errorf("%s goes on after a refusal", mechanism)
			}
		}
	}
}

func TestAHashServesPlainAndLoginAlone(t *testing.T) {
	secret := hash(t, password)
	if got := sasl.Mechanisms(secret); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("a hash serves %q", got)
	}
	if got := sasl.Mechanisms(sasl.Password(password), secret); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("a password and a hash serve %q", got)
	}
	if got := sasl.Mechanisms(); len(got) != 0 {
		t.Errorf("no secrets serve %q", got)
	}
	r := realm(t, secret)
	for _, mechanism := range passwordMechanisms() {
		for range 2 { // the second time the password is known
			for _, test := range []struct {
				password string
				right    bool
			}{{password, true}, {"wrong", false}} {
				c := newClient(t, mechanism, sasl.Identity{User: "Scanner", Password: sasl.Password(test.password)})
				err := exchange(c, newServer(t, mechanism, r), false)
				want := test.right && (mechanism == "PLAIN" || mechanism == "LOGIN")
				if (err == nil) != want || err != nil && !errors.Is(err, sasl.ErrRefused) {
					t.Errorf("%s with a hash, right %v: %v", mechanism, test.right, err)
				}
			}
		}
	}
}

func TestHashesAreChecked(t *testing.T) {
	good := "$2a$04$" + strings.Repeat("a", 53)
	if _, err := sasl.Hash(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "secret", good + "a", good[:59], "$1$" + good[3:], "$2a$99$" + good[7:]} {
		if _, err := sasl.Hash(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSetsOfUsersAreChecked(t *testing.T) {
	p := sasl.Password(password)
	for _, list := range [][]sasl.User{
		{},
		{{Name: "", Secret: p}},
		{{Name: "a\x00b", Secret: p}},
		{{Name: "scanner"}},
		{{Name: "scanner", Secret: p}, {Name: "Scanner", Secret: p}},
	} {
		if _, err := sasl.Users(list...); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%v: %v", list, err)
		}
	}
}

// Somebody unknown gets a secret of a kind that some user has, and the same one
// each time.
func TestAnUnknownUserCostsWhatAKnownOneCosts(t *testing.T) {
	const cost = 5
	sum, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := sasl.Hash(string(sum))
	if err != nil {
		t.Fatal(err)
	}
	hashes := users(t, sasl.User{Name: "a", Secret: secret})
	u, ok := hashes("nobody")
	if ok || u.Secret.Zero() || u.Secret.Clear() {
		t.Errorf("among hashes, %v: clear %v", ok, u.Secret.Clear())
	}
	if got := sasl.Cost(u.Secret); got != cost {
		t.Errorf("the hash has the cost %d, want %d", got, cost)
	}
	clear := users(t, sasl.User{Name: "a", Secret: sasl.Password(password)})
	if u, ok := clear("nobody"); ok || !u.Secret.Clear() {
		t.Errorf("among passwords, %v: clear %v", ok, u.Secret.Clear())
	}

	mixed := users(t, sasl.User{Name: "a", Secret: secret}, sasl.User{Name: "b", Secret: sasl.Password(password)})
	kinds := map[bool]int{}
	for i := range 100 {
		name := fmt.Sprint("nobody", i)
		u, _ := mixed(name)
		kinds[u.Secret.Clear()]++
		if again, _ := mixed(strings.ToUpper(name)); again.Secret.Clear() != u.Secret.Clear() {
			t.Errorf("%s is told apart from itself", name)
		}
	}
	if kinds[true] == 0 || kinds[false] == 0 {
		t.Errorf("in a mixed set the unknown are told apart: %v", kinds)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	who := sasl.Identity{User: "scanner", Password: sasl.Password(password), Token: sasl.Password(token)}
	values := []any{
		who, &who, sasl.Password(password), hash(t, password), sasl.User{Name: "a", Secret: sasl.Password(password)},
		[]sasl.Secret{sasl.Password(password)}, map[string]sasl.Secret{"a": sasl.Password(password)}, errors.New(""),
	}
	for _, mechanism := range sasl.ClientMechanisms() {
		c := newClient(t, mechanism, who)
		c.Start()
		c.Next([]byte("r=0123456789,s=QSXCR+Q6sek8bf92,i=4096"))
		values = append(values, c)
	}
	for _, mechanism := range passwordMechanisms() {
		s := newServer(t, mechanism, realm(t, sasl.Password(password)))
		s.Next(nil)
		s.Next([]byte(password))
		values = append(values, s)
	}
	for _, v := range values {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%c"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("it", "value", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("it", "value", v)
		json.NewEncoder(&b).Encode(v)
		for _, secret := range []string{password, token, "$2a$"} {
			decimal := strings.Trim(fmt.Sprint([]byte(secret)), "[]")
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret), decimal} {
				if strings.Contains(b.String(), form) {
					t.Errorf("%T is printed with a secret:\n%s", v, b.String())
				}
			}
		}
	}
}

func TestTheStrongestMechanismIsChosen(t *testing.T) {
	byPassword := sasl.Identity{User: "scanner", Password: sasl.Password(password)}
	byToken := sasl.Identity{User: "scanner", Token: sasl.Password(token)}
	for _, test := range []struct {
		offered, allowed string
		who              sasl.Identity
		want             string // "": none
	}{
		{"LOGIN PLAIN XOAUTH2", "*", byPassword, "PLAIN"},
		{"login plain cram-md5", "*", byPassword, "CRAM-MD5"},
		{"PLAIN CRAM-MD5 SCRAM-SHA-1", "*", byPassword, "SCRAM-SHA-1"},
		{"PLAIN SCRAM-SHA-1 scram-sha-256 SCRAM-SHA-256-PLUS", "*", byPassword, "SCRAM-SHA-256"},
		{"PLAIN SCRAM-SHA-1 SCRAM-SHA-256", "PLAIN SCRAM-SHA-1", byPassword, "SCRAM-SHA-1"},
		{"LOGIN CRAM-MD5", "login", byPassword, "LOGIN"},
		{"LOGIN", "*", byPassword, "LOGIN"},
		{"XOAUTH2 OAUTHBEARER", "*", byPassword, ""},
		{"DIGEST-MD5 GSSAPI SCRAM-SHA-256-PLUS", "*", byPassword, ""},
		{"LOGIN", "PLAIN", byPassword, ""},
		{"LOGIN", "", byPassword, ""},
		{"", "*", byPassword, ""},
		{"LOGIN PLAIN OAUTHBEARER", "*", byToken, "OAUTHBEARER"},
		{"OAUTHBEARER XOAUTH2", "*", byToken, "XOAUTH2"},
		{"OAUTHBEARER XOAUTH2", "OAUTHBEARER", byToken, "OAUTHBEARER"},
		{"LOGIN PLAIN", "*", byToken, ""},
	} {
		allowed := strings.Fields(test.allowed)
		if test.allowed == "*" {
			allowed = nil
		}
		c, err := sasl.Strongest(strings.Fields(test.offered), allowed, test.who)
		switch {
		case test.want == "":
			if !errors.Is(err, sasl.ErrMechanism) || !strings.Contains(err.Error(), test.offered) {
				t.Errorf("%s: %v", test.offered, err)
			}
		case err != nil:
			t.Errorf("%s of %s: %v", test.allowed, test.offered, err)
		case c.Name() != test.want:
			t.Errorf("%s of %s: %s, want %s", test.allowed, test.offered, c.Name(), test.want)
		}
	}
}

func TestAClientNeedsAUserAndASecretInClear(t *testing.T) {
	for _, mechanism := range sasl.ClientMechanisms() {
		for name, who := range map[string]sasl.Identity{
			"nothing":        {},
			"no user":        {Password: sasl.Password(password), Token: sasl.Password(token)},
			"no secret":      {User: "scanner"},
			"a hash":         {User: "scanner", Password: hash(t, password), Token: hash(t, password)},
			"a NUL":          {User: "scan\x00ner", Password: sasl.Password(password), Token: sasl.Password(token)},
			"another field":  {User: "scanner\x01auth=Bearer x", Password: sasl.Password(password), Token: sasl.Password(token)},
			"a secret's NUL": {User: "scanner", Password: sasl.Password(password + "\x00"), Token: sasl.Password(token + "\x01")},
		} {
			if _, err := sasl.NewClient(mechanism, who); err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("%s with %s: %v", mechanism, name, err)
			}
		}
	}
	if _, err := sasl.NewClient("GSSAPI", sasl.Identity{User: "a", Token: sasl.Password("b")}); !errors.Is(err, sasl.ErrMechanism) {
		t.Errorf("an unknown mechanism with a token: %v", err)
	}
	if _, err := sasl.NewClient("GSSAPI", sasl.Identity{User: "a", Password: sasl.Password("b")}); !errors.Is(err, sasl.ErrMechanism) {
		t.Errorf("an unknown mechanism: %v", err)
	}
	if _, err := sasl.NewServer("GSSAPI", sasl.Realm{}); !errors.Is(err, sasl.ErrMechanism) {
		t.Errorf("an unknown mechanism: %v", err)
	}
}

func TestATokenIsTakenOrRefusedInEitherForm(t *testing.T) {
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for _, refusal := range []string{"", `{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}`} {
			for _, prompted := range []bool{false, true} {
				p := sasltest.Provider{Tokens: map[string]string{"a=b,c@example.com": token}, Refusal: refusal}
				for said, want := range map[string]error{token: nil, "wrong": sasl.ErrRefused} {
					s, err := p.NewServer(mechanism)
					if err != nil {
						t.Fatal(err)
					}
					c := newClient(t, mechanism, sasl.Identity{
						User: "a=b,c@example.com", Token: sasl.Password(said), Host: "mail.example.com", Port: 587,
					})
					if err := exchange(c, s, prompted); !errors.Is(err, want) {
						t.Errorf("%s, refusal %q, prompted %v: %v, want %v", mechanism, refusal, prompted, err, want)
					}
					explained := sasl.Explanation(c)
					if (explained != "") != (want != nil && refusal != "") {
						t.Errorf("%s, refusal %q: explained %q", mechanism, refusal, explained)
					}
				}
			}
		}
	}
}

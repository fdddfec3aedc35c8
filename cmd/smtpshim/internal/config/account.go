package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
	"smtpshim/rewrite/oneof"
)

// An Account is an [[account]] table: a user and credentials with which smtpshim logs
// in at a server.
type Account struct {
	login.AccountSettings
	OAuth        *token.Settings // nil: the account has a password
	passwordFile string          // "": the account has no password
}

// readAccount reads one [[account]]. state is the directory for what it stores.
func readAccount(t *table, state *stateDir) *Account {
	a := &Account{AccountSettings: login.AccountSettings{
		Name: t.text("name", ""), User: t.text("user", ""),
		Sessions:          t.number("sessions", 0, 0, 1_000_000),
		MessagesPerMinute: t.number("messages_per_minute", 0, 0, 1_000_000),
		Wait:              t.duration("wait", login.DefaultWait, time.Second, 15*time.Second),
	}}
	if a.User == "" {
		t.follows(nil, "user", `is missing: the name to log in with, as in user = "scanner@example.com"`)
	}
	var refused refusal
	t.word("refusal", &refused)
	a.Temporary = refused == "temporary"
	var method loginMethod
	known := t.word("method", &method)
	password := t.beside(t.text("password_file", ""))
	tokens := t.tokens(a.Name, state.path)
	t.ask("mechanisms") // whatever the method is, so that the key is known
	switch {
	case !known:
	case method == "oauth":
		a.Mechanisms = t.mechanisms("mechanisms", tokenMechanisms)
		t.useless("password_file", `method "oauth" does not use it; "password" does`)
		a.OAuth = &tokens
		t.checkTokens(tokens)
		if tokens.Flow == token.RefreshToken {
			state.try()
		}
	case method == "password":
		a.Mechanisms = t.mechanisms("mechanisms", passwordMechanisms)
		for _, key := range tokenKeys {
			t.useless(key, `method "password" does not use it; "oauth" does`)
		}
		a.Password, a.passwordFile = t.password("password_file", password), password
	default:
		t.follows(nil, "method", `is missing: "password" or "oauth"`)
	}
	return a
}

// tokenKeys are the keys for method "oauth" only.
var tokenKeys = []string{"provider", "flow", "tenant", "client_id", "client_secret_file", "client_certificate", "client_key", "key_file",
	"subject", "command", "command_timeout", "token_url", "device_url", "scopes", "proxy_url", "ca", "timeout"}

// flowKeys are the keys of tokenKeys that a flow uses.
var flowKeys = map[token.Flow][]string{
	token.ClientCredentials: {"provider", "flow", "tenant", "client_id", "client_secret_file", "client_certificate", "client_key", "token_url", "scopes", "proxy_url", "ca", "timeout"},
	token.RefreshToken:      {"provider", "flow", "tenant", "client_id", "client_secret_file", "client_certificate", "client_key", "token_url", "device_url", "scopes", "proxy_url", "ca", "timeout"},
	token.ServiceAccount:    {"provider", "flow", "key_file", "subject", "token_url", "scopes", "proxy_url", "ca", "timeout"},
	token.Command:           {"flow", "command", "command_timeout"},
}

// useless reports a key that has no effect.
func (t *table) useless(key, why string) {
	if t.says(key) {
		t.wrong(key, "%s", why)
	}
}

// tokens reads the settings for obtaining tokens.
func (t *table) tokens(name, state string) token.Settings {
	s := token.Settings{
		Account: name, StateDir: state,
		Provider: t.text("provider", ""), Flow: token.Flow(t.text("flow", "")), Tenant: t.text("tenant", ""),
		TokenURL: t.text("token_url", ""), DeviceURL: t.text("device_url", ""), Scopes: t.texts("scopes"),
		ClientID: t.text("client_id", ""), ClientSecretFile: t.file("client_secret_file"),
		ClientCertificate: t.file("client_certificate"), ClientKey: t.file("client_key"),
		KeyFile: t.file("key_file"), Subject: t.text("subject", ""),
		Command: t.texts("command"), CommandTimeout: t.duration("command_timeout", token.DefaultTimeout, time.Second, 5*time.Minute),
		ProxyURL: t.text("proxy_url", ""), CA: t.file("ca"), Timeout: t.duration("timeout", token.DefaultTimeout, time.Second, 5*time.Minute),
	}
	if s.Flow == token.Command && len(s.Command) > 0 && s.Command[0] != "" {
		s.Command[0] = t.program("command", s.Command[0])
	}
	return s
}

// file returns the path of a file that is read again later.
func (t *table) file(key string) string {
	name := t.beside(t.text(key, ""))
	if name != "" {
		t.places = append(t.places, Besides(name)...)
	}
	return name
}

// program returns the path of a program that is run later, and reports if it cannot be
// run.
func (t *table) program(key, name string) string {
	path := t.beside(name)
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		t.wrong(key, "%q is no program: the path of one is wanted, as in command = [\"/usr/local/bin/print-token\"]", name)
	}
	for _, dir := range append([]string{filepath.Dir(path)}, "/bin", "/usr", "/lib", "/lib64") {
		t.reach(dir, Executing)
	}
	return path
}

// checkTokens reports mistakes in the settings, each at the key with which the error
// begins.
func (t *table) checkTokens(s token.Settings) {
	if uses := flowKeys[s.Flow]; uses != nil {
		for _, key := range tokenKeys {
			if !slices.Contains(uses, key) {
				t.useless(key, fmt.Sprintf("flow %q does not use it", s.Flow))
			}
		}
	}
	for _, err := range each(s.Check()) {
		text := strings.TrimPrefix(err.Error(), "read ")
		key, rest, _ := strings.Cut(text, " ")
		key = strings.TrimSuffix(key, ":")
		at, isFile := errors.AsType[*fs.PathError](err)
		switch {
		case slices.Contains(tokenKeys, key) && isFile:
			t.wrongSecret(key, at)
		case slices.Contains(tokenKeys, key):
			t.wrong(key, "%s", rest)
		case !strings.HasPrefix(text, "account name "): // readAccount reports mistakes in the name
			t.wrong("", "%v", err)
		}
	}
}

// password reads the first line of a file.
func (t *table) password(key, file string) sasl.Secret {
	if file == "" {
		t.follows(nil, key, "is missing: the name of a file whose first line is the password")
		return sasl.Secret{}
	}
	t.places = append(t.places, Besides(file)...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.wrongSecret(key, err)
		return sasl.Secret{}
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > 255 {
		t.wrong(key, "the first line of %s has %d octets; a password has 1 to 255", file, len(line))
		return sasl.Secret{}
	}
	return sasl.Password(string(line))
}

// The mechanisms that an account can use.
var (
	tokenMechanisms    = []string{sasl.XOAuth2, sasl.OAuthBearer}
	passwordMechanisms = []string{sasl.SCRAMSHA256, sasl.SCRAMSHA1, sasl.CRAMMD5, sasl.NTLM, sasl.Plain, sasl.Login}
)

// PossibleMechanisms returns the names of the SASL mechanisms that the account may log in
// by: those that the file lists for it, or else all that suit its password or token.
func (a *Account) PossibleMechanisms() []string {
	switch {
	case a.Mechanisms != nil:
		return a.Mechanisms
	case a.OAuth != nil:
		return tokenMechanisms
	}
	return passwordMechanisms
}

// mechanisms reads the names of mechanisms for our logins; nil: all of known.
func (t *table) mechanisms(key string, known []string) []string {
	var names []string
	for _, name := range t.texts(key) {
		names = append(names, strings.ToUpper(name))
		if _, err := oneof.Index(strings.ToUpper(name), known); err != nil {
			t.wrong(key, "%v", err)
		}
	}
	return names
}

// Equal reports whether the accounts a and b have the same settings. It ignores their
// places in the files of the configuration. It compares passwords by their content. If
// a and b log in by access tokens, it compares the paths of the files that hold their
// secrets and keys, not the content of these files.
func (a *Account) Equal(b *Account) bool {
	one, other := a.AccountSettings, b.AccountSettings
	if one.Name != other.Name || one.User != other.User || !one.Password.Equal(other.Password) || !slices.Equal(one.Mechanisms, other.Mechanisms) ||
		one.Sessions != other.Sessions || one.MessagesPerMinute != other.MessagesPerMinute || one.Wait != other.Wait || one.Temporary != other.Temporary {
		return false
	}
	if a.OAuth == nil || b.OAuth == nil {
		return a.OAuth == b.OAuth
	}
	return reflect.DeepEqual(*a.OAuth, *b.OAuth)
}

// A loginMethod says which credentials an account has.
type loginMethod string

func (m *loginMethod) UnmarshalText(text []byte) error {
	return chooseWord(m, text, "password", "oauth")
}

// A refusal says what clients are told if the account is refused.
type refusal string

func (r *refusal) UnmarshalText(text []byte) error {
	return chooseWord(r, []byte(cmp.Or(string(text), "permanent")), "permanent", "temporary")
}

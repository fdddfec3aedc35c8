package token

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProviderFillsWhatIsNotGiven(t *testing.T) {
	for _, c := range []struct {
		settings      Settings
		token, device string
		scopes        string
	}{
		{Settings{Provider: "microsoft", Flow: ClientCredentials, Tenant: "contoso.example", ClientID: "id", ClientSecretFile: "s"},
			"https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token",
			"https://login.microsoftonline.com/contoso.example/oauth2/v2.0/devicecode",
			"https://outlook.office365.com/.default"},
		{Settings{Provider: "microsoft", Flow: RefreshToken, Tenant: "common", ClientID: "id", StateDir: "d"},
			"https://login.microsoftonline.com/common/oauth2/v2.0/token",
			"https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
			"https://outlook.office.com/SMTP.Send offline_access"},
		{Settings{Provider: "google", Flow: RefreshToken, ClientID: "id", StateDir: "d"},
			"https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/device/code", "https://mail.google.com/"},
		{Settings{Provider: "microsoft", Flow: ClientCredentials, ClientID: "id", ClientSecretFile: "s", TokenURL: "https://login.example.com/t", Scopes: []string{"a", "b"}, Tenant: "t"},
			"https://login.example.com/t", "https://login.microsoftonline.com/t/oauth2/v2.0/devicecode", "a b"},
		{Settings{Flow: ClientCredentials, ClientID: "id", ClientSecretFile: "s", TokenURL: "http://127.0.0.1:8080/t"}, "http://127.0.0.1:8080/t", "", ""},
		{Settings{Flow: ClientCredentials, ClientID: "id", ClientSecretFile: "s", TokenURL: "http://[::1]/t"}, "http://[::1]/t", "", ""},
	} {
		c.settings.Account = "office"
		got, err := c.settings.filled()
		if err != nil {
			t.Errorf("%+v: %v", c.settings, err)
			continue
		}
		if got.TokenURL != c.token || got.DeviceURL != c.device || !slices.Equal(got.Scopes, strings.Fields(c.scopes)) || got.Timeout != 30*time.Second {
			t.Errorf("%+v becomes %+v", c.settings, got)
		}
	}
}

func TestMistakesInSettingsAreNamed(t *testing.T) {
	good := Settings{Account: "office", Provider: "microsoft", Flow: ClientCredentials, Tenant: "contoso.example", ClientID: "id", ClientSecretFile: "s"}
	for _, c := range []struct {
		want   string
		change func(*Settings)
	}{
		{"account name", func(s *Settings) { s.Account = "" }},
		{"account name", func(s *Settings) { s.Account = "../office" }},
		{"account name", func(s *Settings) { s.Account = ".hidden" }},
		{"account name", func(s *Settings) { s.Account = `a\b` }},
		{"flow \"password\"", func(s *Settings) { s.Flow = "password" }},
		{"provider \"azure\"", func(s *Settings) { s.Provider = "azure" }},
		{"token_url is missing", func(s *Settings) { s.Provider = "" }},
		{"tenant is missing", func(s *Settings) { s.Tenant = "" }},
		{"tenant", func(s *Settings) { s.Tenant = "a/b" }},
		{"tenant", func(s *Settings) { s.Tenant = "x?y" }},
		{"stands for any directory", func(s *Settings) { s.Tenant = "common" }},
		{"client_id", func(s *Settings) { s.ClientID = "" }},
		{"client_secret_file or client_certificate", func(s *Settings) { s.ClientSecretFile = "" }},
		{"exclude each other", func(s *Settings) { s.ClientCertificate = "c" }},
		{"client_key needs", func(s *Settings) { s.ClientKey = "k" }},
		{"state_dir", func(s *Settings) { s.Flow = RefreshToken }},
		{"key_file", func(s *Settings) { s.Flow, s.Provider = ServiceAccount, "google" }},
		{"is Google's", func(s *Settings) { s.Flow = ServiceAccount }},
		{"service-account", func(s *Settings) { s.Provider = "google" }},
		{"needs command", func(s *Settings) { s.Flow = Command }},
		{"use https", func(s *Settings) { s.TokenURL = "http://login.example.com/t" }},
		{"use https", func(s *Settings) { s.TokenURL = "http://localhost/t" }}, // a name may be anywhere
		{"use https", func(s *Settings) { s.TokenURL = "http://192.0.2.1/t" }},
		{"use https", func(s *Settings) { s.DeviceURL = "http://192.0.2.1/t" }},
		{"is not a URL", func(s *Settings) { s.TokenURL = "https://user:hunter2@login.example.com/t" }},
		{"is not a URL", func(s *Settings) { s.TokenURL = "login.example.com" }},
		{"negative", func(s *Settings) { s.Timeout = -1 }},
	} {
		settings := good
		c.change(&settings)
		_, err := settings.filled()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: the error is %v, want one with %q", settings, err, c.want)
		}
	}
}

func TestProxyAndAuthoritiesAreChecked(t *testing.T) {
	settings, _ := withSecret(t, nil)
	settings.HTTP = nil
	for _, proxy := range []string{"192.0.2.1:3128", "ftp://192.0.2.1", "http://user:hunter2@", "http://user:hunter2@%"} {
		settings.ProxyURL = proxy
		if _, err := New(settings); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("proxy_url %q: the error is %v, want one without the password", proxy, err)
		}
	}
	settings.ProxyURL = ""
	for _, ca := range []string{"/nonexistent", file(t, "ca.pem", "none")} {
		settings.CA = ca
		if _, err := New(settings); err == nil {
			t.Errorf("ca %q: there is no error, want one", ca)
		}
	}
}

func TestEmptySecretFileIsRefused(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "blank": " \n"} {
		settings, _ := withSecret(t, gives(time.Hour))
		settings.ClientSecretFile = file(t, name, text)
		if _, err := New(settings); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%s: the error is %v, want that of an empty file", name, err)
		}
	}
}

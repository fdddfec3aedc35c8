package config

import (
	"testing"

	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
)

// Each of these settings is one that a reload has to put in force.
func TestAnAccountWithAnotherSettingIsAnother(t *testing.T) {
	same := func() *Account {
		return &Account{OAuth: &token.Settings{Account: "office", Scopes: []string{"mail"}, Command: []string{"print", "a token"}},
			AccountSettings: login.AccountSettings{Name: "office", User: "a@example.com", Password: sasl.Password("x"), Mechanisms: []string{"PLAIN"}, Sessions: 1, MessagesPerMinute: 1, Wait: 1}}
	}
	if !same().Equal(same()) {
		t.Error("an account is not itself")
	}
	for name, change := range map[string]func(*Account){
		"user": func(a *Account) { a.User = "b@example.com" }, "password": func(a *Account) { a.Password = sasl.Password("y") },
		"mechanisms": func(a *Account) { a.Mechanisms = nil }, "sessions": func(a *Account) { a.Sessions = 2 },
		"messages": func(a *Account) { a.MessagesPerMinute = 2 }, "wait": func(a *Account) { a.Wait = 2 }, "refusal": func(a *Account) { a.Temporary = true },
		"scopes": func(a *Account) { a.OAuth.Scopes = []string{"mail", "more"} }, "client": func(a *Account) { a.OAuth.ClientID = "x" },
		"words of the command": func(a *Account) { a.OAuth.Command = []string{"print", "a", "token"} },
		"method":               func(a *Account) { a.OAuth = nil },
	} {
		other := same()
		change(other)
		if same().Equal(other) || other.Equal(same()) {
			t.Errorf("%s: it is the same", name)
		}
	}
}

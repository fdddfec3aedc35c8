package main

import (
	"testing"

	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
)

// Each of these settings is one that a reload has to put in force.
func TestAnAccountWithAnotherSettingIsAnother(t *testing.T) {
	same := func() *account {
		return &account{tokens: &token.Settings{Account: "office", Scopes: []string{"mail"}, Command: []string{"print", "a token"}},
			AccountSettings: login.AccountSettings{Name: "office", User: "a@example.com", Password: sasl.Password("x"), Mechanisms: []string{"PLAIN"}, Sessions: 1, MessagesPerMinute: 1, Wait: 1}}
	}
	if !same().equal(same()) {
		t.Error("an account is not itself")
	}
	for name, change := range map[string]func(*account){
		"user": func(a *account) { a.User = "b@example.com" }, "password": func(a *account) { a.Password = sasl.Password("y") },
		"mechanisms": func(a *account) { a.Mechanisms = nil }, "sessions": func(a *account) { a.Sessions = 2 },
		"messages": func(a *account) { a.MessagesPerMinute = 2 }, "wait": func(a *account) { a.Wait = 2 }, "refusal": func(a *account) { a.Temporary = true },
		"scopes": func(a *account) { a.tokens.Scopes = []string{"mail", "more"} }, "client": func(a *account) { a.tokens.ClientID = "x" },
		"words of the command": func(a *account) { a.tokens.Command = []string{"print", "a", "token"} },
		"method":               func(a *account) { a.tokens = nil },
	} {
		other := same()
		change(other)
		if same().equal(other) || other.equal(same()) {
			t.Errorf("%s: it is the same", name)
		}
	}
}

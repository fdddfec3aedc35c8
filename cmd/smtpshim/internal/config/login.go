package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"smtpshim/proxy"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/rewrite"
	"smtpshim/rewrite/oneof"
)

// A Login is a [[route.login]] table: it says for which clients smtpshim logs in at the
// server with which account.
type Login struct {
	login.Entry         // without Account
	AccountName  string // name of the account
	passwordFile string // file with the user's password; "": none
}

// readLogins reads the logins of the route in t. Its TLS and servers have already been
// read.
func readLogins(t *table, r *Route, accounts []*Account) {
	users := map[string]int{}
	for _, from := range t.tables("login") {
		l := readLogin(from, r, accounts)
		if first, taken := users[strings.ToLower(l.User)]; taken && l.User != "" {
			from.wrong("user", "%q is also the user of the login on line %d; each needs its own", l.User, first)
		}
		users[strings.ToLower(l.User)] = from.lines.line(from.path)
		r.LoginEntries = append(r.LoginEntries, l)
		from.done()
	}
	if len(r.LoginEntries) > 0 {
		checkLoginRoute(t, r)
	}
}

func readLogin(t *table, r *Route, accounts []*Account) Login {
	l := Login{AccountName: t.text("account", ""), Entry: login.Entry{Networks: networks(t, "networks"), User: t.text("user", ""),
		NTLMv1: t.boolean("ntlm_v1", false), Sender: t.text("sender", ""), Senders: t.texts("senders")}}
	if !slices.ContainsFunc(accounts, func(a *Account) bool { return a.Name == l.AccountName }) {
		var names []string
		for _, a := range accounts {
			names = append(names, a.Name)
		}
		switch {
		case !t.has("account"):
			t.follows(nil, "account", `is missing: the name of an [[account]]`)
		case len(names) == 0:
			t.wrong("account", `%q is no account: there is none; write [[account]] and below it name, user and method`, l.AccountName)
			t.mistakes[len(t.mistakes)-1].after = []string{"account"} // [[acount]]
		default:
			t.wrong("account", `%q is no account; there is %s%s`, l.AccountName, oneof.And(names), oneof.DidYouMean(l.AccountName, names))
		}
	}
	for _, n := range l.Networks {
		switch {
		case !n.IsValid():
		case n.Bits() == 0:
			t.wrong("networks", "%v is the whole Internet: anybody could send mail as this account; name the networks of your clients", n)
		case n.Addr().Is4() && n.Bits() < 8, n.Bits() < 7: // no private network is larger (RFC 1918, RFC 4193)
			t.wrong("networks", "%v is a large part of the Internet: anybody there could send mail as this account; name the networks of your clients", n)
		}
	}
	t.readClientSecret(&l)
	if len(l.Networks) == 0 && l.User == "" && !t.says("networks") {
		t.follows([]string{"networks", "user"}, "", "networks, or a user with a password, is missing: without either, anybody could send mail as this account")
	}
	if l.User != "" && len(l.Networks) == 0 && !t.says("networks") && r.ClientTLS.Mode <= rewrite.ClientTLSHide {
		t.wrong("user", `%q cannot log in from anywhere; for logins inside TLS write client_tls.mode = "offer", "require" or "implicit", `+
			`for logins in clear name networks here`, l.User)
	}
	if l.Sender != "" && !isAddress(l.Sender) {
		t.wrong("sender", "%q is no address such as scanner@example.com", l.Sender)
	}
	for _, s := range l.Senders {
		if !isAddress(s) && !isAddress("x"+s) {
			t.wrong("senders", "%q is neither an address such as scanner@example.com nor a domain such as @example.com", s)
		}
	}
	if l.Sender != "" && len(l.Senders) > 0 {
		t.wrong("senders", "%q takes the place of every sender, so senders has no effect; write one of the two", l.Sender)
	}
	return l
}

// readClientSecret reads the password with which a client logs in to us.
func (t *table) readClientSecret(l *Login) {
	hash, file := t.text("password_hash", ""), t.beside(t.text("password_file", ""))
	switch {
	case l.User == "":
		for _, key := range []string{"password_hash", "password_file", "ntlm_v1"} {
			if t.has(key) && t.values[key] != "" && t.values[key] != false {
				t.wrong(key, "goes with a user, and there is none")
			}
		}
	case hash != "" && file != "":
		t.wrong("password_file", "does not go with password_hash; write one of the two")
	case hash != "":
		var err error
		if l.Secret, err = sasl.Hash(hash); err != nil {
			t.wrong("password_hash", "%v", err)
		}
		if l.NTLMv1 {
			t.wrong("ntlm_v1", "a hash serves PLAIN and LOGIN alone; NTLM needs password_file")
		}
	case file != "":
		l.Secret, l.passwordFile = t.password("password_file", file), file
	default:
		t.follows([]string{"password_hash", "password_file"}, "", "the password of user %q is missing: password_hash, or password_file", l.User)
	}
}

// checkLoginRoute reports settings that a route with logins must not have, because they
// could send credentials to the wrong server.
func checkLoginRoute(t *table, r *Route) {
	tls := t.table("server_tls")
	if !tls.has("mode") || r.ServerTLS.Dialer != nil || r.ServerTLS.Mode == rewrite.ServerTLSOff { // otherwise it was reported
		switch m := r.ServerTLS.Mode; {
		case !tls.has("mode"):
			tls.follows(nil, "mode", `is missing: with [[route.login]] credentials go inside TLS alone; write mode = "require", or "implicit" for port 465`)
		case m != rewrite.ServerTLSRequire && m != rewrite.ServerTLSImplicit:
			tls.wrong("mode", `%q does not go with [[route.login]]: credentials go inside TLS alone; write mode = "require", or "implicit" for port 465`, m)
		case !r.ServerTLS.Verified:
			tls.wrong("verify", "false does not go with [[route.login]]: anybody who stands between us and the server would get the credentials; use ca or pins")
		}
	}
	if slices.Contains(r.Servers, proxy.OriginalDestination) && (r.Server == nil || r.Server.ServerName == "" && len(r.Server.Pins) == 0) {
		t.wrong("servers", "%q does not go with [[route.login]]: the client would choose who gets the credentials; write server_tls.server_name or pins", proxy.OriginalDestination)
	}
}

// isAddress reports whether text is an address that a login may have: without quoting and
// source routes.
func isAddress(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	return ok && local != "" && len(text) <= 254 && !strings.ContainsAny(local, " \t<>()[]\\,;:\"\r\n") && hostName.MatchString(domain)
}

// warnLogins returns warnings about possible mistakes in a route's logins.
func warnLogins(r *Route) (list []string) {
	var before []netip.Prefix
	for _, l := range r.LoginEntries {
		for _, n := range l.Networks {
			if i := slices.IndexFunc(before, func(b netip.Prefix) bool { return b.Bits() <= n.Bits() && b.Contains(n.Addr()) }); l.User == "" && i >= 0 {
				list = append(list, fmt.Sprintf("login: %v has no effect, because a login before it has %v and the first that fits counts", n, before[i]))
			}
		}
		if l.User == "" {
			before = append(before, l.Networks...)
		}
		if text := warnSecret("login.password_file", l.passwordFile); text != "" {
			list = append(list, text)
		}
		if l.NTLMv1 {
			list = append(list, fmt.Sprintf("login: user %q may log in by NTLMv1, which anybody who reads along can break: "+
				"only for Exchange 5.0 and 5.5 and clients like them, on a network of your own", l.User))
		}
	}
	return list
}

package rewrite

import (
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// mechanismNamed returns the mechanism that an AUTH command names, in upper case. It
// reads the command as the most lenient server may: the name is the first run of octets
// that names of mechanisms consist of (RFC 4422, 3.1), whatever separates it from the
// verb.
func mechanismNamed(command []byte) string {
	rest := strings.TrimLeft(string(command), blanks)
	rest = rest[verbEnd(rest):]
	start := strings.IndexFunc(rest, isMechanismRune)
	if start < 0 {
		return ""
	}
	rest = rest[start:]
	if end := strings.IndexFunc(rest, func(c rune) bool { return !isMechanismRune(c) }); end >= 0 {
		rest = rest[:end]
	}
	return upperASCII(rest)
}

// verbEnd returns the index at which the verb of a command ends, by the same rules as
// ParseVerb.
func verbEnd(command string) int {
	if end := strings.IndexAny(command, blanks+"=:"); end >= 0 {
		return end
	}
	return len(command)
}

func isMechanismRune(c rune) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// isLoginKeyword reports whether the parameters of an EHLO keyword are mechanisms. name
// is in upper case.
func isLoginKeyword(name string) bool { return sasl.Has(verbNamed([]byte(name))) }

// bindsTLS reports whether a mechanism binds the login to the TLS connection. If TLS ends
// here, client and server have different TLS connections, so such a login fails (RFC
// 5802, 6).
func bindsTLS(mechanism string) bool { return strings.HasSuffix(mechanism, "-PLUS") }

// isExternal reports whether a mechanism logs in the owner of the certificate that the
// server sees in TLS (RFC 4422, A). If TLS ends here, the server does not see the
// client's certificate. Our own would log in any client.
func isExternal(mechanism string) bool { return mechanism == "EXTERNAL" }

// endsLegs reports whether we end TLS with the client or with the server.
func (d *Dialogue) endsLegs() bool { return d.seen.tls || d.server.tls }

// refusesLogin returns the safeguard that keeps an AUTH command from the server, and the
// reply for the client. Both are "" if the command may be sent on.
func (d *Dialogue) refusesLogin(command []byte) (guard vocabulary.Safeguard, text string) {
	mechanism := mechanismNamed(command)
	switch {
	case d.policy.Logins != nil: // clients log in to us: no AUTH of theirs is sent on
		return "", ""
	case d.endsLegs() && isExternal(mechanism):
		return vocabulary.SafeguardExternal, "504 5.5.4 EXTERNAL goes by the certificate of the TLS connection, which ends at this proxy"
	case d.endsLegs() && bindsTLS(mechanism):
		return vocabulary.SafeguardChannelBinding, "504 5.5.4 channel binding goes by the TLS connection, which ends at this proxy"
	case d.withholdsLogin() && !d.server.logins.inClear(mechanism):
		return vocabulary.SafeguardAuthInClear, clearLoginText
	}
	return "", ""
}

// RFC 4954, 6.
const clearLoginText = `538 5.7.11 the server offers this login inside TLS only, and this client is in clear; server_tls.auth_in_clear = "allow" would pass it`

// withholdsLogin reports whether this client, which is in clear, must not use logins that
// the server offers only inside a TLS that we have begun.
func (d *Dialogue) withholdsLogin() bool {
	return d.server.tls && !d.seen.tls && d.policy.withholdsLogin()
}

func (p *Policy) withholdsLogin() bool { return p.ClearLogin.Refuses(p.ServerTLS) }

// logins are the mechanisms that a server offers, in upper case.
type logins struct {
	clear  []string // before the TLS handshake
	inside []string // inside TLS only
	known  bool     // the EHLO reply inside TLS has come
}

// inClear reports whether a client in clear may use a mechanism: the server offers it in
// clear, or offers other logins in clear and does not offer this one at all.
func (l *logins) inClear(mechanism string) bool {
	if l == nil || len(l.clear) == 0 {
		return false
	}
	return slices.Contains(l.clear, mechanism) || l.known && !slices.Contains(l.inside, mechanism)
}

// withhold removes from an EHLO reply the logins that the server offers inside TLS only,
// if the client is in clear. It reports whether it removed any. From a reply in clear it
// records what the server offers in clear.
func (d *Dialogue) withhold(e Extensions) (changed bool) {
	l := d.server.logins
	if !d.server.tls {
		if offered := mechanismsOf(e); len(offered) > 0 {
			d.server.logins = &logins{clear: offered}
		}
		return false
	}
	if !d.withholdsLogin() {
		return false
	}
	if l != nil {
		l.inside, l.known = nil, true
	}
	return dropMechanisms(e, func(mechanism string) bool {
		if l == nil {
			return true
		}
		if slices.Contains(l.clear, mechanism) {
			return false
		}
		l.inside = append(l.inside, mechanism)
		return true
	})
}

// mechanismsOf returns the mechanisms of all login keywords, in upper case.
func mechanismsOf(e Extensions) []string {
	var all []string
	for _, line := range e.lines() {
		if name, params := cutKeyword(line); isLoginKeyword(upperASCII(name)) {
			all = append(all, strings.Fields(upperASCII(params))...)
		}
	}
	return all
}

// dropMechanisms removes the mechanisms for which drop returns true, and each keyword
// that has no mechanism left. drop gets names in upper case. changed reports whether
// anything was removed.
func dropMechanisms(e Extensions, drop func(mechanism string) bool) (changed bool) {
	drops := func(mechanism string) bool { return drop(upperASCII(mechanism)) }
	stays := func(mechanism string) bool { return !drops(mechanism) }
	before := len(e.lines())
	e.DropFunc(func(name, params string) bool {
		mechanisms := strings.Fields(params)
		return isLoginKeyword(name) && len(mechanisms) > 0 && !slices.ContainsFunc(mechanisms, stays)
	})
	changed = len(e.lines()) < before
	for i, line := range e.changing() {
		name, params := cutKeyword(line)
		if mechanisms := strings.Fields(params); isLoginKeyword(upperASCII(name)) && slices.ContainsFunc(mechanisms, drops) {
			e.lines()[i] = line[:len(name)+1] + strings.Join(slices.DeleteFunc(mechanisms, drops), " ")
			changed = true
		}
	}
	return changed
}

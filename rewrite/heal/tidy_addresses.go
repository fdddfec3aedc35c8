package heal

import (
	"bytes"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

// The faults of an address in MAIL or RCPT, in addition to those of tidy_commands.go.
const (
	nameOn       = "name"        // a display name, or a second pair of brackets
	apostrophes  = "apostrophes" // apostrophes around the address, inside its brackets
	routeOn      = "route"       // a source route before the address
	quotesOff    = "unquoted"    // a local part that lacks its quotes
	quotesOn     = "quoted"      // a local part with needless quotes
	addressChars = "!#$%&'*+-/=?^_`{|}~"
)

// isTidyAddress is a quick test of the text that follows the colon of MAIL or RCPT and
// begins with a bracket. If it returns true, tidyAddress and innerPath find no fault. It
// may return false even if they find none.
func isTidyAddress(path []byte) bool {
	if last := bytes.LastIndexByte(path, '<'); last > 0 && path[last-1] != '=' { // AUTH=<>
		return false
	}
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case c == '>':
			return true
		case c == '@': // otherwise it is a source route or a part of one
			domain, _, _ := bytes.Cut(path[i+1:], []byte(">"))
			return i > 1 && bytes.IndexByte(domain, '@') < 0
		case c == '.' && (i == 1 || path[i-1] == '.' || i+1 < len(path) && path[i+1] == '@'):
			return false
		case c == '\'' && i == 1, c != '.' && !isAtom(c):
			return false
		}
	}
	return false
}

// isAtom reports whether an octet may appear in an address without quotes. Octets beyond
// ASCII may, for SMTPUTF8 (RFC 5321, 4.1.2; RFC 6531, 3.3).
func isAtom(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80 || strings.IndexByte(addressChars, c) >= 0
}

// innerPath parses a command with a display name, whose address is inside a second pair
// of brackets or follows the name: `RCPT TO:<Joe <joe@example.com>>`, `RCPT TO:Joe
// <joe@example.com>`.
func innerPath(line string) (p rewrite.Path, ok bool) {
	colon := strings.IndexByte(line, ':')
	if colon < 0 || strings.ContainsAny(line[:colon], `<"`) {
		return rewrite.Path{}, false
	}
	rest := line[colon+1:]
	for open := strings.LastIndexByte(rest, '<'); open >= 0; open = strings.LastIndexByte(rest[:open], '<') {
		mailbox, tail, closed := strings.Cut(rest[open+1:], ">")
		if !closed || !isPlainMailbox(mailbox) {
			continue // the <> of AUTH=<>
		}
		tail = strings.TrimLeft(tail, ">")
		params := strings.FieldsFunc(tail, func(c rune) bool { return strings.ContainsRune(blanks, c) })
		if tail != "" && !isBlank(tail[0]) || slices.ContainsFunc(params, isNoParameter) || strings.Contains(rest[:open], ">") {
			return rewrite.Path{}, false
		}
		return rewrite.Path{Prefix: line[:colon+1], Address: "<" + mailbox + ">", Params: params}, true
	}
	return rewrite.Path{}, false
}

// isPlainMailbox reports whether text is an address without brackets and nothing else.
func isPlainMailbox(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	return ok && isDotString(local) && isMailDomain(domain)
}

// isDotString reports whether a local part needs no quotes (RFC 5321, 4.1.2).
func isDotString(local string) bool {
	return isOfAtoms(local) && local[0] != '.' && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..")
}

// isOfAtoms reports whether a local part consists of dots and of octets that need no
// quotes.
func isOfAtoms(local string) bool {
	for i := range len(local) {
		if local[i] != '.' && !isAtom(local[i]) {
			return false
		}
	}
	return local != ""
}

// isNoParameter reports whether a word cannot be a parameter of MAIL or RCPT.
func isNoParameter(word string) bool {
	name, _, _ := strings.Cut(word, "=")
	return name == "" || strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c)
	})
}

// tidyAddress returns an address in brackets without what RFC 5321 does not allow, and
// the faults it had.
func tidyAddress(address string) (tidy string, found []string) {
	mailbox, ok := cutBrackets(address)
	if !ok {
		return address, nil
	}
	if inner := strings.TrimSuffix(strings.TrimPrefix(mailbox, "'"), "'"); len(inner) == len(mailbox)-2 && isPlainMailbox(inner) {
		mailbox, found = inner, append(found, apostrophes)
	}
	if route, behind, ok := strings.Cut(mailbox, ":"); ok && strings.HasPrefix(route, "@") && strings.Contains(behind, "@") {
		mailbox, found = behind, append(found, routeOn) // RFC 5321, C: a source route should be ignored
	} else if colon := strings.LastIndexByte(mailbox, ':'); colon > 0 && strings.Contains(mailbox[:colon], "@") && isPlainMailbox(mailbox[colon+1:]) && !strings.Contains(mailbox, `"`) {
		mailbox, found = mailbox[colon+1:], append(found, routeOn) // a route of addresses, KB Q140940
	}
	at := strings.LastIndexByte(mailbox, '@')
	if at < 0 {
		return "<" + mailbox + ">", found
	}
	local, domain := mailbox[:at], mailbox[at:]
	inner := strings.TrimSuffix(strings.TrimPrefix(local, `"`), `"`)
	switch {
	case len(inner) == len(local)-2 && isOfAtoms(inner):
		local, found = inner, append(found, quotesOn)
	case local != "" && !isDotString(local) && !strings.ContainsFunc(local, isNoText):
		local, found = `"`+local+`"`, append(found, quotesOff)
	}
	return "<" + local + domain + ">", found
}

// isNoText reports whether a character may not stand in quotes without a backslash, or
// shows that the text is not a local part.
func isNoText(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune(`"\@<>:`, c) }

// hasAddress reports whether MAIL or RCPT has a valid address, or one that is valid once
// tidied: the null path of MAIL, a local part alone, as in <postmaster>, or a mailbox
// (RFC 5321, 4.1.2).
func hasAddress(verb rewrite.Verb, command []byte) bool {
	line := string(command)
	if !isTidy(verb, command) {
		line, _ = tidy(verb, command)
	}
	path, ok := rewrite.ParsePath([]byte(line))
	if !ok {
		return false
	}
	mailbox, ok := cutBrackets(path.Address)
	if mailbox == "" {
		return ok && verb == rewrite.VerbMAIL
	}
	local, domain := mailbox, ""
	if at := strings.LastIndexByte(mailbox, '@'); at >= 0 {
		if local, domain = mailbox[:at], mailbox[at+1:]; !isDomainOrLiteral(domain) {
			return false
		}
	}
	return ok && (isDotString(local) || isQuotedString(local))
}

// isDomainOrLiteral reports whether text has only characters of domains and address
// literals. Underscores occur in some host names.
func isDomainOrLiteral(text string) bool {
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if inner == "" || opened != closed {
		return false
	}
	return !strings.ContainsFunc(inner, func(c rune) bool {
		isName := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c >= 0x80
		return !isName && !(opened && c == ':')
	})
}

// isQuotedString reports whether a local part is one quoted string, in which quotes are
// preceded by a backslash (RFC 5321, 4.1.2).
func isQuotedString(local string) bool {
	if len(local) < 2 || local[0] != '"' {
		return false
	}
	for i := 1; i < len(local); i++ {
		switch local[i] {
		case '\\':
			i++
		case '"':
			return i == len(local)-1
		}
	}
	return false
}

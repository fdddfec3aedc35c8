package heal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func mapDomains() rewrite.Rule {
	return rewrite.Rule{
		Name:  "map-domains",
		Heals: "servers that do not know an address such as user@[192.0.2.1], or know a domain by another name",
		Doc: "Exchange 4.0 and 5.0 do not know that mail to their own address in brackets is theirs, and refuse the recipient. The rule " +
			"replaces the domain of the address in MAIL and RCPT if it is in the option `domains`. The header of the message stays as it " +
			"is.",
		Source:  "KB Q194742; RFC 5321, 4.1.3",
		Entries: []string{"L45"},
		Options: []rewrite.Option{{Name: "domains", Default: map[string]string{},
			Doc: `the clients' domains, each with the server's domain that replaces it, compared without regard to case, as in { "[192.0.2.1]" = "example.com" }; both may be address literals`}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			domains, given := map[string]string{}, o.Table("domains")
			for _, from := range slices.Sorted(maps.Keys(given)) {
				to := given[from]
				for _, domain := range []string{from, to} {
					if !isMailDomain(domain) {
						return rewrite.Actions{}, &rewrite.ConfigError{Option: "domains", Err: fmt.Errorf(`%q is no domain; write what stands behind the @, as in "[192.0.2.1]" = "example.com"`, domain)}
					}
				}
				lower := strings.ToLower(from)
				if domains[lower] != "" {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "domains", Err: fmt.Errorf("%q is there twice, in other letters; case does not matter in a domain", lower)}
				}
				domains[lower] = to
			}
			if len(domains) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "domains", Err: errors.New(`no domain is given; write for example domains = { "[192.0.2.1]" = "example.com" }`)}
			}
			return rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT), Command: func(t *rewrite.Turn) {
				if !namesOneOf(t.Line(), domains) {
					return
				}
				path, ok := t.Path()
				mailbox, isMailbox := cutBrackets(path.Address)
				at := strings.LastIndexByte(mailbox, '@')
				if !ok || !isMailbox || at < 0 {
					return
				}
				if to := domains[strings.ToLower(mailbox[at+1:])]; to != "" && to != mailbox[at+1:] {
					path.Address = "<" + mailbox[:at+1] + to + ">"
					t.SetPath(path)
				}
			}}, nil
		},
	}
}

// namesOneOf is a quick test: it reports whether line contains @ and one of these
// domains, which are in lower case.
func namesOneOf(line []byte, domains map[string]string) bool {
	for ; len(line) > 0; line = line[1:] {
		if line[0] != '@' {
			continue
		}
		for domain := range domains {
			if len(line) > len(domain) && equalsLower(line[1:1+len(domain)], domain) {
				return true
			}
		}
	}
	return false
}

// equalsLower reports whether octets equal lower, ignoring case. lower must be in lower
// case and have the same length.
func equalsLower(octets []byte, lower string) bool {
	for i, c := range octets {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isMailDomain reports whether text may follow the @ of an address: it is a domain or an
// address literal.
func isMailDomain(text string) bool {
	return text != "" && !strings.ContainsAny(text, "@<>\"(),; \t\r\n\x00\\")
}

// cutBrackets removes the angle brackets of an address. ok is false if it has none.
func cutBrackets(address string) (mailbox string, ok bool) {
	if len(address) < 2 || address[0] != '<' || address[len(address)-1] != '>' {
		return "", false
	}
	return address[1 : len(address)-1], true
}

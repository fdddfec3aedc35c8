package heal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func mapAuthNames() rewrite.Rule {
	return rewrite.Rule{
		Name:  "map-auth-names",
		Heals: "clients that log in with a name that the server does not know, such as a directory name, and cannot be reconfigured",
		Doc: "Exchange 5.5 refuses distinguished names, and devices may hold a name that the server has not had for years. In AUTH PLAIN, " +
			"LOGIN and CRAM-MD5 the rule replaces a name that is in the option `names`. The password is the client's own and stays as it " +
			"is. The rule compares names letter by letter.",
		Symptoms: []string{"535 5.7.3 Authentication unsuccessful"},
		Source:   "KB Q235627; RFC 4616, 2; RFC 2195, 2",
		Entries:  []string{"L36"},
		Options: []rewrite.Option{{Name: "names", Default: map[string]string{},
			Doc: `the client's names, each with the server's name that replaces it, as in { "cn=scan,o=example" = "scanner" }`}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			names := authNames(o.Table("names"))
			if len(names) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "names", Err: errors.New(`no name is given; write for example names = { "old" = "new" }`)}
			}
			for _, from := range slices.Sorted(maps.Keys(names)) {
				to := names[from]
				if from == "" || to == "" || strings.ContainsAny(from+to, "\x00\r\n") {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "names", Err: fmt.Errorf("%q = %q: a name is empty, or has a NUL or a line end in it; write both as they are typed", from, to)}
				}
			}
			return rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbAUTH), Command: names.onCommand, SASL: names.inExchange}, nil
		},
	}
}

// authNames maps names that clients use to names that the server knows.
type authNames map[string]string

// onCommand maps the name in the initial response of an AUTH command.
func (n authNames) onCommand(t *rewrite.Turn) {
	short, response, ok := cutResponse(t.Line())
	if ok && t.Mechanism() != "CRAM-MD5" { // in CRAM-MD5 the server speaks first
		if mapped, ok := n.response(t.Mechanism(), response); ok {
			t.SetLine(short + " " + mapped)
		}
	}
}

// inExchange maps the name in the client's first SASL line.
func (n authNames) inExchange(t *rewrite.Turn) {
	if _, _, ok := cutResponse(t.Said()); ok || t.Step() != 1 {
		return
	}
	if mapped, ok := n.response(t.Mechanism(), string(t.Line())); ok {
		t.SetLine(mapped)
	}
}

// response maps the name in a response. ok is false if there is no name to map.
func (n authNames) response(mechanism, response string) (mapped string, ok bool) {
	octets, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", false
	}
	text := string(octets)
	switch mechanism {
	case "LOGIN":
		text, ok = n[text], n[text] != ""
	case "CRAM-MD5": // name, blank, digest of the challenge
		at := strings.LastIndexByte(text, ' ')
		if at < 0 || n[text[:at]] == "" {
			return "", false
		}
		text, ok = n[text[:at]]+text[at:], true
	case "PLAIN": // authorization identity, NUL, name, NUL, password
		parts := strings.Split(text, "\x00")
		if len(parts) != 3 {
			return "", false
		}
		for i, part := range parts[:2] {
			if n[part] != "" {
				parts[i], ok = n[part], true
			}
		}
		text = strings.Join(parts, "\x00")
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), ok
}

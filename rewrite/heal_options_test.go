package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite/heal"
)

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for _, c := range []struct {
		rule, option string
		value        any
		says         string
	}{
		{"offer-auth", "mechanisms", []string{}, `no mechanism to offer is named; write for example mechanisms = ["LOGIN"]`},
		{"offer-auth", "mechanisms", []string{"LOGIN", "PLAIN\r\n250 X"}, `"PLAIN\r\n250 X" is not the name of a mechanism`},
		{"host-name-first", "name", "not a name", `"not a name" is not a name for EHLO`},
		{"defer-auth-failures", "codes", []string{"454"}, `"454" is no permanent refusal; write codes from "500" to "599"`},
		{"map-domains", "domains", map[string]string{}, `no domain is given`},
		{"map-domains", "domains", map[string]string{"a@example.com": "example.net"}, `"a@example.com" is no domain`},
		{"map-domains", "domains", map[string]string{"Example.com": "example.net", "example.com": "example.org"}, `"example.com" is there twice, in other letters`},
		{"map-auth-names", "names", map[string]string{}, `no name is given`},
		{"map-auth-names", "names", map[string]string{"a": "b\x00c"}, `"a" = "b\x00c": a name is empty, or has a NUL or a line end in it`},
		{"header-fields", "remove", []string{}, `no field is named; write for example unfold = ["From"]`},
		{"header-fields", "remove", []string{"Sender:"}, `"Sender:" is no name of a header field`},
		{"header-fields", "unfold", []string{""}, `"" is no name of a header field`},
		{"header-fields", "add", []string{"From"}, `"From" cannot be added; "Date" and "Message-ID" can`},
		{"hide-keywords", "keywords", []string{}, `no keyword to hide is named`},
		{"label-8bit", "charset", "iso 8859", `"iso 8859" is no name of a character set`},
		{"long-lines", "length", int64(77), `77 is less than 78 octets`},
		{"shield", "path_characters", "|@", `"|@" has "@" in it, which every address has`},
		{"strip-parameters", "refused", []string{"smtputf8"}, `without SMTPUTF8 an address that needs it would be another one`},
		{"strip-parameters", "refused", []string{"X"}, `"X" is no parameter of MAIL or RCPT that is known`},
		{"fall-back-to-helo", "remembered", "lhlo", `"lhlo"`},
	} {
		_, errs := heal.Compile([]string{c.rule}, map[string]map[string]any{c.rule: {c.option: c.value}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.says) {
			t.Errorf("%s.%s = %q: %v, not %q", c.rule, c.option, c.value, errs, c.says)
		}
	}
}

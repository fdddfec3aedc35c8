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
		{"fall-back-to-helo", "remembered", "lhlo", `"lhlo"`},
	} {
		_, errs := heal.Compile([]string{c.rule}, map[string]map[string]any{c.rule: {c.option: c.value}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.says) {
			t.Errorf("%s.%s = %q: %v, not %q", c.rule, c.option, c.value, errs, c.says)
		}
	}
}

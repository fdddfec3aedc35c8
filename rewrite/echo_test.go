package rewrite

import (
	"strings"
	"testing"
)

func TestARefusalThatRepeatsACredentialIsNotTraced(t *testing.T) {
	d := &Dialogue{tracer: &tracer{}}
	for _, v := range []Verb{VerbAUTH, VerbOther} {
		got := d.lines(nil, 'S', v, []byte("500 unrecognized: c2VjcmV0\r\n"))
		if len(got) != 1 || strings.Contains(got[0], "c2VjcmV0") || !strings.HasPrefix(got[0], "500 ") {
			t.Errorf("%v: traced as %q", v, got)
		}
	}
	if got := d.redacted(VerbOther, []byte("PASS secret")); strings.Contains(got, "secret") {
		t.Errorf("traced as %q", got)
	}
}

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

func TestARefusalThatRepeatsACredentialIsReadAllTheSame(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	for line, want := range map[string]string{
		"500 Line too long":                                    "500 Line too long",
		"500 5.5.2 Line too long: " + secret:                   "500 5.5.2 Line too long: ...(16 octets)",
		"501 5.5.4 Syntax error (" + secret + ") in it":        "501 5.5.4 Syntax error ...(18 octets) in it",
		"502 unrecognized command 'AUTH PLAIN " + secret + "'": "502 unrecognized command 'AUTH ...(5 octets) ...(17 octets)",
		"504 \x00user\x00secret":                               "504 ...(12 octets)",
		"503 secret":                                           "503 ...(6 octets)",
		"500 1234567890 is unknown":                            "500 ...(10 octets) is unknown",
	} {
		d := &Dialogue{tracer: &tracer{}} // it does not know what the line repeats
		if got := d.lines(nil, 'S', VerbAUTH, []byte(line+"\r\n")); len(got) != 1 || got[0] != want {
			t.Errorf("%q is traced as %q, want %q", line, got, want)
		}
	}
	if got, want := PlainWords([]byte("334-TlRMTVNTUAACAAAA\r\n334 dXNlcg==\n")), "...(20 octets)\r\n334 ...(8 octets)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

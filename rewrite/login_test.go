package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// Name and password are each within the limit of a line, and both together are not.
func TestALoginThatIsTooLongForPLAINIsRefused(t *testing.T) {
	for n, refused := range map[int]bool{4000: false, 8000: true} {
		rules, errs := heal.Compile([]string{"login-to-plain"}, nil)
		if errs != nil {
			t.Fatal(errs)
		}
		k := talkUnder(t, &rewrite.Policy{Rules: rules})
		k.hello("AUTH PLAIN")
		k.client("AUTH LOGIN", "", "334 VXNlcm5hbWU6")
		k.client(strings.Repeat("QUFB", n/4), "", "334 UGFzc3dvcmQ6")
		k.d.SASL([]byte(strings.Repeat("QkJC", n/4) + "\r\n"))
		said, heard := joined(k.d.ToServer), joined(k.d.ToClient)
		if refused != strings.HasPrefix(heard, "500 5.5.6 ") || refused != (said == "") || len(k.broke) > 0 {
			t.Errorf("%d octets: the server gets %d octets, the client %q; broke %q", n, len(said), heard, k.whys)
		}
	}
}

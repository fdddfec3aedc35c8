//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// A token of over 1,400 octets does not fit on the AUTH line of 512 octets, and one of
// over 2,048 in base64 on no line of Postfix's: it says 500 then, unless the token comes
// on a line of its own (smtpd_sasl_response_limit is 12,288).
func TestTokensOfAnyLengthLogIn(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			ca := real.NewCA(t)
			to, endpoint := tokenServer(t, ca)
			stored := 0
			for _, octets := range []int{0, 1000, 4000} { // of a claim
				endpoint.change(endpoint.key, map[string]any{"groups": strings.Repeat("g", octets)})
				s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require",
					says: endpoint.account(t, ca, fmt.Sprintf("mechanisms = [%q]\n", mechanism)), loginSays: networkLogin()}, endpoint.tokens)
				wantSentByScanner(t, s, to, stored, []sender{swaksSends()})
				stored++
				if token := endpoint.tokens()[len(endpoint.tokens())-1]; len(token) < octets*4/3 {
					t.Errorf("the token has %d octets only", len(token))
				}
				s.counted(t, fmt.Sprintf(`smtpshim_logins_total{account="office",mechanism=%q,outcome="ok",route="peers"} 1`, mechanism))
			}
		})
	}
}

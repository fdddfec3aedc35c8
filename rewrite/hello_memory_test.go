package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// By its option fall-back-to-helo says HELO at once to a server that has hung up on
// EHLO twice, until it is known to speak ESMTP, or the day is over.
func TestAServerThatHangsUpOnEHLOGetsHELOAtOnce(t *testing.T) {
	rules, errs := heal.Compile([]string{"fall-back-to-helo"}, map[string]map[string]any{"fall-back-to-helo": {"remembered": "helo"}})
	if errs != nil {
		t.Fatal(errs)
	}
	m, policy := memory{}, &rewrite.Policy{Rules: rules, Hostname: "relay.example.com"}
	k := after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "HELO client.example.net", "")
	k.server("250-mail.example.com|250 SIZE", "", "250 mail.example.com")
	k.acted("fall-back-to-helo", "")
	k = after(t, m, policy)
	k.client("EHLO", "HELO relay.example.com", "")
	k.server("501 no", "", "501 no")
	m["ehlo"] = aDay
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	clear(m)
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
}

// TLS that is required is not given up for a server that is remembered.
func TestHELOAtOnceDoesNotGiveUpRequiredTLS(t *testing.T) {
	rules, errs := heal.Compile([]string{"fall-back-to-helo"}, map[string]map[string]any{"fall-back-to-helo": {"remembered": "helo"}})
	if errs != nil {
		t.Fatal(errs)
	}
	m := memory{"fall-back-to-helo hangs up on EHLO": aDay}
	k := after(t, m, &rewrite.Policy{Rules: rules, ClientTLS: rewrite.ClientTLSHide, ServerTLS: rewrite.ServerTLSRequire})
	k.client("EHLO client.example.net", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "454 4.7.0 TLS with the server is required and not to be had")
}

// A server whose own answer to EHLO is a lone OK is remembered by masked-ehlo, and
// its OK is an answer from then on.
func TestAServerThatAnswersEHLOWithOKIsRemembered(t *testing.T) {
	m, policy := memory{}, &rewrite.Policy{Rules: compile(t, "masked-ehlo")}
	k := after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250 OK", "HELO client.example.net", "")
	k.server("503 Bad Sequence", "", "")
	if m["masked-ehlo answers OK"] != aDay {
		t.Errorf("remembered: %v", m)
	}
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.server("250 OK", "", "250 OK")
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250 OK", "", "250 OK")
	k.acted("", "")
}

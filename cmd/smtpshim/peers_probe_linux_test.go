package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"smtpshim/proxy/probe"
	"smtpshim/proxy/smtptest/real"
)

// What OpenSMTPD 6.8 gets wrong, and a route heals.
var faultsOfOpenSMTPD = []string{"second-ehlo", "trailing-blank", "names"}

// What real servers are strict about they may refuse, by the RFCs; a fault is none of it.
func TestAProbeFindsNothingToHealInRealServers(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	postfix := func(o real.Options) func(*testing.T) *real.Server {
		return func(t *testing.T) *real.Server { return real.Postfix(t, o) }
	}
	for name, start := range map[string]func(*testing.T) *real.Server{
		"Postfix":          postfix(real.Options{CA: ca}),
		"Postfix, a login": postfix(real.Options{CA: ca, Users: map[string]string{"anna": "secret"}}),
		"Postfix, to RFC":  postfix(real.Options{Settings: []string{"strict_rfc821_envelopes = yes", "smtpd_helo_required = yes"}}),
		"Postfix, hardened": postfix(real.Options{Settings: []string{"smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
			"smtpd_delay_reject = no", "disable_vrfy_command = yes", "smtpd_forbid_bare_newline = reject"}}),
		"Exim":               func(t *testing.T) *real.Server { return real.Exim(t, real.Options{CA: ca}) },
		"sendmail":           func(t *testing.T) *real.Server { return real.Sendmail(t, real.Options{CA: ca}) },
		"sendmail, in clear": func(t *testing.T) *real.Server { return real.Sendmail(t, real.Options{}) },
		"OpenSMTPD":          func(t *testing.T) *real.Server { return real.OpenSMTPD(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			p := probing{server: server.Addr, host: "127.0.0.1", name: "client.example.com", mail: "anna@example.com", to: "ben@example.com", message: true,
				proxy: true, wait: time.Minute, rest: time.Second, linger: 50 * time.Millisecond, progress: &progress{}}
			found, err := p.examine(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var known []string
			if name == "OpenSMTPD" {
				known = faultsOfOpenSMTPD
			}
			reports := []probe.Report{found.Without}
			if found.With != nil {
				reports = append(reports, *found.With)
			}
			for i, r := range reports {
				var faults []string
				for _, f := range r.Findings {
					t.Logf("%s %s %s: %q", f.Kind, f.Name, f.Entry, f.Seen)
					if f.Kind == probe.Fault {
						faults = append(faults, f.Name)
					}
				}
				if i > 0 {
					known = nil // healed
				}
				if !slices.Equal(faults, known) {
					t.Errorf("report %d: it has the faults %q, want %q", i, faults, known)
				}
				for _, u := range r.Untried {
					t.Logf("untried: %s: %s", u.Name, u.Why)
				}
			}
			if n := found.Without.Connections; n > 12 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

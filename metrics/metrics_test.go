package metrics

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// names are the metrics that the documentation promises.
var names = []string{
	"smtpshim_sessions_total", "smtpshim_sessions_active", "smtpshim_session_seconds", "smtpshim_defects_total", "smtpshim_refused_total",
	"smtpshim_commands_total", "smtpshim_auth_total", "smtpshim_replies_total", "smtpshim_rule_applied_total", "smtpshim_rule_broken_total",
	"smtpshim_messages_total", "smtpshim_message_bytes_total", "smtpshim_bytes_total",
	"smtpshim_server_connect_seconds", "smtpshim_server_reply_seconds", "smtpshim_server_errors_total",
	"smtpshim_limits_met_total", "smtpshim_products_total", "smtpshim_held_seconds", "smtpshim_server_again_total", "smtpshim_bad_replies_total",
	"smtpshim_config_last_reload_successful", "smtpshim_config_last_reload_success_timestamp_seconds",
	"smtpshim_tls_sessions_total", "smtpshim_tls_failures_total", "smtpshim_certificate_reloads_total", "smtpshim_config_reloads_total", "smtpshim_build_info",
}

// both is TLS on both sides.
var both = TLS{
	Client: []Cipher{{"1.3", "TLS_AES_128_GCM_SHA256"}},
	Server: []Cipher{{"1.0", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}},
}

// everything lets each event happen once, with values that are in the sets.
func everything(r *Route) {
	r.SessionBegan()
	r.Command("mail")
	r.Reply(250)
	r.Authenticated("client", "NTLM", "refused")
	r.RuleApplied("join-data-reply")
	r.RuleBroken("join-data-reply")
	r.Recognised("iis-4", "greeting")
	r.Message("accepted", 1000)
	r.Bytes("client", 1100)
	r.Bytes("server", 300)
	r.ServerConnected(20 * time.Millisecond)
	r.ServerReplied("end-of-data", 2*time.Second)
	r.ServerFailed("timeout")
	r.TLS("client", "1.3", "TLS_AES_128_GCM_SHA256")
	r.TLS("server", "1.0", "TLS_RSA_WITH_3DES_EDE_CBC_SHA")
	r.TLSFailed("client", "version")
	r.TLSFailed("server", "certificate-name")
	r.CertificateReloaded(nil)
	r.Defect()
	r.Refused("sessions")
	r.LimitMet("recipients")
	r.ServerAgain()
	r.BadReply("garbage")
	r.Held(200 * time.Microsecond)
	r.SessionEnded("ok", 3*time.Second)
}

func TestEveryMetricIsThereBeforeAnythingHappened(t *testing.T) {
	reg := prometheus.NewRegistry()
	New(reg, "v1").Route("in", []string{"join-data-reply"}, both, Product{"iis-4", "greeting"})
	found, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		if strings.HasPrefix(f.GetName(), "smtpshim_") {
			got = append(got, f.GetName())
		}
	}
	want := slices.Sorted(slices.Values(names))
	if !slices.Equal(got, want) {
		t.Errorf("metrics:\n got %q\nwant %q", got, want)
	}
}

func TestNamesFollowPrometheusConventions(t *testing.T) {
	reg := prometheus.NewRegistry()
	everything(New(reg, "v1").Route("in", []string{"join-data-reply"}, both, Product{"iis-4", "greeting"}))
	problems, err := testutil.GatherAndLint(reg, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEachEventIsCountedWhereItBelongs(t *testing.T) {
	m := New(prometheus.NewRegistry(), "v1")
	r := m.Route("in", []string{"join-data-reply"}, both, Product{"iis-4", "greeting"})
	everything(r)
	r.SessionBegan()
	m.Reloaded(nil)
	m.Reloaded(errors.New("a mistake"))
	for _, c := range []struct {
		what string
		from prometheus.Collector
		want float64
	}{
		{"sessions", m.sessions.WithLabelValues("in", "ok"), 1},
		{"active", m.active.WithLabelValues("in"), 1},
		{"defects", m.defects.WithLabelValues("in"), 1},
		{"refused", m.refused.WithLabelValues("in", "sessions"), 1},
		{"products", m.recognised.WithLabelValues("in", "iis-4", "greeting"), 1},
		{"limits", m.limitsMet.WithLabelValues("in", "recipients"), 1},
		{"fresh connections", m.serverAgain.WithLabelValues("in"), 1},
		{"bad replies", m.badReplies.WithLabelValues("in", "garbage"), 1},
		{"the last reload", m.reloaded, 0},
		{"commands", m.commands.WithLabelValues("in", "mail"), 1},
		{"replies", m.replies.WithLabelValues("in", "2xx"), 1},
		{"AUTH exchanges", m.auth.WithLabelValues("in", "client", "NTLM", "refused"), 1},
		{"rule applied", m.ruleApplied.WithLabelValues("in", "join-data-reply"), 1},
		{"rule broken", m.ruleBroken.WithLabelValues("in", "join-data-reply"), 1},
		{"messages", m.messages.WithLabelValues("in", "accepted"), 1},
		{"message bytes", m.messageBytes.WithLabelValues("in"), 1000},
		{"bytes from the client", m.bytes.WithLabelValues("in", "from_client"), 1100},
		{"bytes from the server", m.bytes.WithLabelValues("in", "from_server"), 300},
		{"server errors", m.serverErrors.WithLabelValues("in", "timeout"), 1},
		{"client TLS", m.tlsSessions.WithLabelValues("in", "client", "1.3", "TLS_AES_128_GCM_SHA256"), 1},
		{"server TLS", m.tlsSessions.WithLabelValues("in", "server", "1.0", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"), 1},
		{"client TLS failed", m.tlsFailures.WithLabelValues("in", "client", "version"), 1},
		{"server TLS failed", m.tlsFailures.WithLabelValues("in", "server", "certificate-name"), 1},
		{"certificates", m.certificateReloads.WithLabelValues("in", "ok"), 1},
		{"reloads", m.reloads.WithLabelValues("ok"), 1},
		{"bad reloads", m.reloads.WithLabelValues("error"), 1},
	} {
		if got := testutil.ToFloat64(c.from); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestTimesGoIntoTheirHistograms(t *testing.T) {
	reg := prometheus.NewRegistry()
	everything(New(reg, "v1").Route("in", nil, both))
	found, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range found {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h.GetSampleCount() > 0 {
				if len(h.GetPositiveSpan()) == 0 {
					t.Errorf("%s has no native histogram", f.GetName())
				}
				sums[f.GetName()] += h.GetSampleSum()
			}
		}
	}
	for name, want := range map[string]float64{
		"smtpshim_session_seconds":        3,
		"smtpshim_server_connect_seconds": 0.02,
		"smtpshim_server_reply_seconds":   2,
		"smtpshim_held_seconds":           0.0002,
	} {
		if sums[name] != want {
			t.Errorf("%s: sum %v, want %v", name, sums[name], want)
		}
	}
}

func TestWhatIsInNoSetIsOther(t *testing.T) {
	m := New(prometheus.NewRegistry(), "v1")
	r := m.Route("in", nil, both)
	before := testutil.CollectAndCount(m.commands)
	for _, verb := range []string{"xyzzy", "MAIL", "", "\xff"} {
		r.Command(verb)
	}
	for _, code := range []int{-1, 0, 199, 600, 1 << 30} {
		r.Reply(code)
	}
	r.Message("accepted", -5)
	r.TLS("client", "0.9", "TLS_AES_128_GCM_SHA256")
	r.TLS("client", "1.3", "TLS_NONE")
	r.TLSFailed("client", "bad luck")
	if got := testutil.ToFloat64(m.commands.WithLabelValues("in", "other")); got != 4 {
		t.Errorf("other commands: %v, want 4", got)
	}
	if got := testutil.ToFloat64(m.tlsSessions.WithLabelValues("in", "client", "other", "other")); got != 2 {
		t.Errorf("other TLS: %v, want 2", got)
	}
	if got := testutil.ToFloat64(m.tlsFailures.WithLabelValues("in", "client", "other")); got != 1 {
		t.Errorf("other failures of TLS: %v, want 1", got)
	}
	if after := testutil.CollectAndCount(m.commands); after != before {
		t.Errorf("%d series of commands became %d", before, after)
	}
	if got := testutil.ToFloat64(m.replies.WithLabelValues("in", "other")); got != 5 {
		t.Errorf("other replies: %v, want 5", got)
	}
	if got := testutil.ToFloat64(m.messageBytes.WithLabelValues("in")); got != 0 {
		t.Errorf("message bytes: %v, want 0", got)
	}
}

func TestAReloadGoesOnCounting(t *testing.T) {
	m := New(prometheus.NewRegistry(), "v1")
	old := m.Route("in", []string{"a"}, both)
	old.Command("mail")
	fresh := m.Route("in", []string{"a", "b"}, both)
	fresh.Command("mail")
	old.Command("mail") // a session that began before the reload
	fresh.RuleApplied("b")
	if got := testutil.ToFloat64(m.commands.WithLabelValues("in", "mail")); got != 3 {
		t.Errorf("commands: %v, want 3", got)
	}
	if got := testutil.ToFloat64(m.ruleApplied.WithLabelValues("in", "b")); got != 1 {
		t.Errorf("rule b: %v, want 1", got)
	}
}

func TestAnEventAllocatesNothing(t *testing.T) {
	r := New(prometheus.NewRegistry(), "v1").Route("in", []string{"join-data-reply"}, both, Product{"iis-4", "greeting"})
	if n := testing.AllocsPerRun(1000, func() { everything(r) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkCommandAndReply(b *testing.B) {
	r := New(prometheus.NewRegistry(), "v1").Route("in", nil, both)
	b.ReportAllocs()
	for b.Loop() {
		r.Command("rcpt")
		r.ServerReplied("rcpt", time.Millisecond)
		r.Reply(250)
	}
}

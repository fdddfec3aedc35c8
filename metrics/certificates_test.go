package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCertificatesTellTheirEnd(t *testing.T) {
	list := []Certificate{
		{"in", "client", "mail.example.com", "aa", time.Unix(1800000000, 0)},
		{"in", "client", "mail.example.com", "aa", time.Unix(1800000000, 0)}, // the same, in another file
		{"out", "server", "CN=\xff", "bb", time.Unix(1700000000, 0)},
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(CertificateExpiry(func() []Certificate { return list }))
	const name = "smtpshim_certificate_expiry_timestamp_seconds"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP `+name+` When a certificate of smtpshim ends, in seconds since 1970.
# TYPE `+name+` gauge
`+name+`{fingerprint="aa",name="mail.example.com",route="in",side="client"} 1.8e+09
`+name+`{fingerprint="bb",name="CN=?",route="out",side="server"} 1.7e+09
`), name); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	list = list[2:]
	if n := testutil.CollectAndCount(CertificateExpiry(func() []Certificate { return list })); n != 1 {
		t.Errorf("%d certificates, want the one that is in use", n)
	}
}

func TestARouteWithoutTLSHasNoSeriesOfIt(t *testing.T) {
	m := New(prometheus.NewRegistry(), "v1")
	m.Route("in", nil, TLS{})
	if n := testutil.CollectAndCount(m.tlsSessions) + testutil.CollectAndCount(m.tlsFailures); n != 0 {
		t.Errorf("%d series", n)
	}
}

func TestTheCertificatesOfAccountsTellTheirEnd(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(AccountCertificateExpiry(func() []AccountCertificate {
		return []AccountCertificate{{"office", time.Unix(1800000000, 0)}}
	}))
	const name = "smtpshim_account_certificate_expiry_timestamp_seconds"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP `+name+` When the client certificate of an account ends, in seconds since 1970.
# TYPE `+name+` gauge
`+name+`{account="office"} 1.8e+09
`), name); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestServersTellHowTheyStand(t *testing.T) {
	list := []Server{{"in", "192.0.2.1:25", 3, true}, {"in", "unix:/run/mail.sock", 0, false}, {"out", "192.0.2.1:25", 1, true}}
	reg := prometheus.NewRegistry()
	reg.MustRegister(Servers(func() []Server { return list }))
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP smtpshim_server_sessions Sessions that the server has now.
# TYPE smtpshim_server_sessions gauge
smtpshim_server_sessions{route="in",server="192.0.2.1:25"} 3
smtpshim_server_sessions{route="in",server="unix:/run/mail.sock"} 0
smtpshim_server_sessions{route="out",server="192.0.2.1:25"} 1
# HELP smtpshim_server_up 1 if the server greeted when it was tried last and its checks go well, else 0.
# TYPE smtpshim_server_up gauge
smtpshim_server_up{route="in",server="192.0.2.1:25"} 1
smtpshim_server_up{route="in",server="unix:/run/mail.sock"} 0
smtpshim_server_up{route="out",server="192.0.2.1:25"} 1
`)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	list = list[2:]
	if n := testutil.CollectAndCount(Servers(func() []Server { return list })); n != 2 {
		t.Errorf("%d series, want those of the server that is left", n)
	}
}

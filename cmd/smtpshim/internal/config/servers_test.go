package config

import (
	"io/fs"
	"reflect"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy"
	"smtpshim/proxy/servers"
)

func TestTheServersAreAsTheFileSays(t *testing.T) {
	configtest.Dir(t, "testdata")
	c := mustRead(t, "servers-everything.toml")
	in, out := c.Routes[0], c.Routes[1]
	if in.Balance != servers.LeastSessions || in.Health != (proxy.Health{Interval: 30 * time.Second, Timeout: 5 * time.Second}) ||
		in.ListenMode != 0o600 || !reflect.DeepEqual(in.Listen, []string{"unix:/run/in.sock", "127.0.0.1:2525"}) || len(in.Servers) != 3 {
		t.Errorf("%+v", in.Route)
	}
	if out.Balance != servers.First || out.Health != (proxy.Health{Timeout: 10 * time.Second}) || out.ListenMode != fs.FileMode(0o660) {
		t.Errorf("%+v", out.Route)
	}
	if list := in.Warnings(time.Now()); list != nil {
		t.Errorf("a socket that only this machine can reach is warned of: %q", list)
	}
}

//go:build linux

package real

import (
	"fmt"
	"strings"
	"testing"
)

// A failing is a test that remembers why it was ended.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestAServerSaysWhatItLacks(t *testing.T) {
	s := &Server{Addr: "127.0.0.1:2525"} // as a sendmail or an OpenSMTPD
	for want, call := range map[string]func(testing.TB){
		"the server at 127.0.0.1:2525 has no command sendmail: only Postfix and Exim have": func(t testing.TB) { s.Sendmail(t, "") },
		"the server at 127.0.0.1:2525 stores no messages that can be read: ":               func(t testing.TB) { s.Messages(t, 0) },
		"real.Server.Log: the server at 127.0.0.1:2525 has no log: only Postfix has":       func(testing.TB) { s.Log() },
	} {
		f := &failing{TB: t}
		func() {
			defer func() {
				switch end := recover().(type) {
				case *failing:
				case string:
					f.said = end
				default:
					f.said = fmt.Sprint(end)
				}
			}()
			call(f)
		}()
		if !strings.HasPrefix(f.said, want) {
			t.Errorf("it says %q, not %q", f.said, want)
		}
	}
}

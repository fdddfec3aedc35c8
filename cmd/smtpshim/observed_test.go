package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/evidence"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/rewrite/transcript"
)

// Whether it is watched, recorded, both or neither, a session is in the journal and
// among the evidence once, with its lines in the journal if somebody looked.
func TestASessionIsKeptOnce(t *testing.T) {
	for _, c := range []struct{ watched, recorded bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		written := 0
		o := &observed{journal: journal.New(10, 1<<20),
			writer: record.Start(func(string, error) { written++ }), evidence: new(evidence.Book)}
		o.evidence.Observe("in")
		if c.recorded {
			o.record = &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 20}
		}
		if c.watched {
			o.journal.Recent()
		}
		b := proxy.Beginning{Session: "1a", Route: "in", At: time.Now()}
		d := o.Dialogue(b)
		if (d == nil) == (c.watched || c.recorded) {
			t.Fatalf("%+v: listener %v", c, d)
		}
		if d == nil {
			o.Ended(b, proxy.Ending{Outcome: "ok"})
		} else {
			d.Line(transcript.Line{Side: 'C', Mark: ':', Text: "NOOP"})
			d.End(proxy.Ending{Outcome: "ok"})
		}
		o.writer.Close()
		list := o.journal.Recent()
		if len(list) != 1 || !list[0].Ended || list[0].ID != "1a" || (len(list[0].Lines) == 1) != c.watched || (written == 1) != c.recorded {
			t.Errorf("%+v: %+v, %d recordings", c, list, written)
		}
		if n := o.evidence.Routes()[0].Sessions; n != 1 {
			t.Errorf("%+v: %d sessions are among the evidence", c, n)
		}
	}
}

func TestLostRecordingsAreLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := &losses{log: slog.New(slog.NewTextHandler(&b, nil)), counts: metrics.NewRecordings(prometheus.NewRegistry()), said: map[string]time.Time{}}
		full := errors.New("no space left on device")
		for range 100 {
			l.recorded("in", full)
		}
		l.recorded("in", nil)
		l.recorded("out", full)
		<-time.After(2 * time.Minute)
		l.recorded("in", full)
		if got := b.String(); strings.Count(got, "\n") != 3 || strings.Count(got, "route=in") != 2 || !strings.Contains(got, full.Error()) {
			t.Errorf("logged\n%s", got)
		}
	})
}

func TestCheckSaysWhatIsRecorded(t *testing.T) {
	configDir(t)
	_, out, err := call("check", "-config", "record-everything.toml")
	text := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"records dialogues that are healed or fail of clients in 192.0.2.0/24, 2001:db8::/32, in .: the last 1000 files, in all at most 1 MiB",
		"records dialogues, in .: kept for 48h, in all at most 100 MiB",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s%s", want, out, err)
		}
	}
}

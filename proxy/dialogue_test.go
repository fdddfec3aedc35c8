package proxy_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite/transcript"
)

// An endings hears the ends of sessions, and their lines if it wants to.
type endings struct {
	*counts
	wants bool
	ended chan told
}

type told struct {
	proxy.Ending
	session string // "": from a listener
	lines   int
}

func (o endings) Dialogue(proxy.Beginning) proxy.DialogueListener {
	if !o.wants {
		return nil
	}
	return &endingsListener{o, 0}
}

func (o endings) Ended(b proxy.Beginning, e proxy.Ending) { o.ended <- told{e, b.Session, 0} }

type endingsListener struct {
	o     endings
	lines int
}

func (l *endingsListener) Line(transcript.Line) { l.lines++ }

func (l *endingsListener) End(e proxy.Ending) { l.o.ended <- told{e, "", l.lines} }

func TestEverySessionEndsOnceForWhoHearsItOrDoesNot(t *testing.T) {
	for _, wants := range []bool{false, true} {
		server := startServer(t, legacyServer(t, "modern"))
		o := endings{newCounts(), wants, make(chan told, 10)}
		p, dial := startProxy(t, &proxy.Route{Servers: []string{server.Addr()}, Observer: o, Dialogue: o.Dialogue, Ended: o.Ended})
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprint(conn, "QUIT\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatal(err)
		}
		p.Close()
		e := <-o.ended
		if len(o.ended) != 0 || e.Outcome != "ok" || e.Server != server.Addr() || (e.session == "") != wants || (e.lines > 0) != wants {
			t.Errorf("wants %v: %+v, and %d more", wants, e, len(o.ended))
		}
	}
}

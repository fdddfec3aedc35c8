package journal_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

var client = netip.MustParseAddr("192.0.2.7")

// beginning is that of a session that begins now.
func beginning(id, route string) proxy.Beginning {
	return proxy.Beginning{Session: id, Route: route, Client: client, At: time.Now()}
}

var (
	said   = transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: "NOOP"}
	healed = transcript.Line{Side: transcript.Client, Mark: transcript.Added, Text: "EHLO sub2", Rule: "fix-hello-name"}
)

// next gives what waits in a channel, as "kind id text".
func next(events <-chan journal.Event) (list []string) {
	for {
		select {
		case e := <-events:
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Entry.ID, e.Line.Text)))
		default:
			return list
		}
	}
}

func ids(list []journal.Entry) (ids []string) {
	for _, e := range list {
		ids = append(ids, fmt.Sprintf("%s %t %d", e.ID, e.Ended, len(e.Lines)))
	}
	return ids
}

func TestDialoguesAreKeptWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.New(10, 1<<20)
		asked := func() bool { return j.Dialogue(beginning("x", "in"), nil) != nil }
		if asked() {
			t.Error("kept before anybody looked")
		}
		j.Recent()
		<-time.After(4 * time.Minute)
		if !asked() {
			t.Error("not kept four minutes after somebody looked")
		}
		<-time.After(2 * time.Minute)
		if asked() {
			t.Error("kept six minutes after somebody looked")
		}
		_, stop := j.Watch(journal.Filter{})
		if !asked() {
			t.Error("not kept while somebody watches")
		}
		stop()
		stop()
		if asked() {
			t.Error("kept when nobody watches any more")
		}
	})
}

func TestRecentSessionsComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.New(10, 1<<20)
		j.Ended(beginning("1", "in"), proxy.Ending{Outcome: "ok"})
		j.Recent()
		<-time.After(time.Second)
		old := j.Dialogue(beginning("2", "in"), nil)
		old.Line(said)
		<-time.After(time.Second)
		young := j.Dialogue(beginning("3", "in"), nil)
		<-time.After(1500 * time.Millisecond)
		young.Line(healed)
		young.Line(said)
		if got := ids(j.Recent()); !slices.Equal(got, []string{"3 false 2", "2 false 1", "1 true 0"}) {
			t.Errorf("got %q", got)
		}
		young.End(proxy.Ending{Outcome: "server-lost", Hello: "sub2"})
		old.End(proxy.Ending{Outcome: "ok"})
		list := j.Recent()
		if got := ids(list); !slices.Equal(got, []string{"3 true 2", "2 true 1", "1 true 0"}) {
			t.Errorf("got %q", got)
		}
		e := list[0]
		if e.Lines[0].After != 1500*time.Millisecond || e.Lines[0].Line != healed || e.End.Hello != "sub2" || e.Route != "in" || e.Client != client {
			t.Errorf("%+v", e)
		}
		if !e.Healed() || !e.Failed() || list[1].Healed() || list[1].Failed() {
			t.Errorf("what is healed or has failed is not: %+v", list)
		}
	})
}

func TestAJournalIsBounded(t *testing.T) {
	few := journal.New(3, 1<<20)
	for i := range 10 {
		few.Ended(beginning(fmt.Sprint(i), "in"), proxy.Ending{})
	}
	if got := slices.Sorted(slices.Values(ids(few.Recent()))); !slices.Equal(got, []string{"7 true 0", "8 true 0", "9 true 0"}) {
		t.Errorf("got %q, want the last three", got)
	}
	small := journal.New(100, 8<<10)
	small.Recent()
	for i := range 100 {
		d := small.Dialogue(beginning(fmt.Sprint(i), "in"), nil)
		d.Line(transcript.Line{Side: 'C', Mark: ':', Text: strings.Repeat("x", 1000)})
		d.End(proxy.Ending{})
	}
	if got := len(small.Recent()); got < 2 || got > 8 {
		t.Errorf("8 KiB hold %d sessions of over 1 KB", got)
	}
	small.Ended(beginning("huge", "in"), proxy.Ending{Err: strings.Repeat("x", 9<<10)})
	if got := ids(small.Recent()); len(got) != 0 {
		t.Errorf("8 KiB hold %q beside a session of 9", got)
	}
	small.Ended(beginning("next", "in"), proxy.Ending{})
	if got := ids(small.Recent()); !slices.Equal(got, []string{"next true 0"}) {
		t.Errorf("got %q after that", got)
	}
}

func TestALongDialogueKeepsItsBeginningAndItsEnd(t *testing.T) {
	const n = 10_000
	var e journal.Entry
	d := journal.Collect(beginning("1", "in"), func(whole *journal.Entry) { e = *whole })
	for i := range n {
		d.Line(transcript.Line{Side: 'C', Mark: ':', Text: fmt.Sprint("NOOP ", i)})
	}
	d.End(proxy.Ending{Outcome: "ok"})
	kept := len(e.Lines) - 1 // the note
	if e.Omitted == 0 || kept+e.Omitted != n || kept > 32<<10/64 || !e.Ended {
		t.Fatalf("%d lines of %d, and %d left out", kept, n, e.Omitted)
	}
	if first, last := e.Lines[0].Text, e.Lines[kept].Text; first != "NOOP 0" || last != "NOOP 9999" {
		t.Errorf("from %q to %q", first, last)
	}
	note := slices.IndexFunc(e.Lines, func(l journal.Line) bool { return l.Side == 0 })
	var before, after int
	fmt.Sscanf(e.Lines[note-1].Text, "NOOP %d", &before)
	fmt.Sscanf(e.Lines[note+1].Text, "NOOP %d", &after)
	if after-before-1 != e.Omitted || e.Lines[note].Text != fmt.Sprint(e.Omitted, " lines left out") {
		t.Errorf("between %d and %d: %q", before, after, e.Lines[note].Text)
	}
}

func TestWhoWatchesHearsWhatHeAskedFor(t *testing.T) {
	j := journal.New(10, 1<<20)
	all, stopAll := j.Watch(journal.Filter{})
	in, stopIn := j.Watch(journal.Filter{Route: "in"})
	mended, stopMended := j.Watch(journal.Filter{Healed: true})
	defer stopAll()
	defer stopIn()
	a, b := j.Dialogue(beginning("a", "in"), nil), j.Dialogue(beginning("b", "out"), nil)
	a.Line(said)
	b.Line(said)
	if got := next(mended); got != nil {
		t.Errorf("nothing was healed, and %q", got)
	}
	b.Line(healed)
	b.Line(said)
	a.End(proxy.Ending{Outcome: "ok"})
	b.End(proxy.Ending{Outcome: "ok", Rules: map[string]int{"fix-hello-name": 1}})
	j.Ended(beginning("c", "in"), proxy.Ending{Rules: map[string]int{"fix-hello-name": 1}})
	for what, c := range map[string]struct{ got, want []string }{
		"all":                        {next(all), []string{"began a", "began b", "line a NOOP", "line b NOOP", "line b EHLO sub2", "line b NOOP", "ended a", "ended b", "ended c"}},
		"in":                         {next(in), []string{"began a", "line a NOOP", "ended a", "ended c"}},
		"healed, once something was": {next(mended), []string{"began b", "line b NOOP", "line b EHLO sub2", "line b NOOP", "ended b", "ended c"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", what, c.got, c.want)
		}
	}
	stopMended()
	if _, open := <-mended; open {
		t.Error("the channel is open after the end")
	}
}

func TestWhoWatchesAnOutcomeHearsOfWholeSessionsAtTheirEnd(t *testing.T) {
	j := journal.New(10, 1<<20)
	refused, stopRefused := j.Watch(journal.Filter{Outcome: "refused"})
	failed, stopFailed := j.Watch(journal.Filter{Outcome: "failed", Route: "in"})
	both, stopBoth := j.Watch(journal.Filter{Outcome: "refused", Healed: true})
	defer stopRefused()
	defer stopFailed()
	defer stopBoth()
	a, b := j.Dialogue(beginning("a", "in"), nil), j.Dialogue(beginning("b", "in"), nil)
	a.Line(said)
	b.Line(healed)
	for _, events := range []<-chan journal.Event{refused, failed, both} {
		if got := next(events); got != nil {
			t.Errorf("nothing has ended, and %q", got)
		}
	}
	a.End(proxy.Ending{Outcome: "refused"})
	b.End(proxy.Ending{Outcome: "server-lost"})
	j.Ended(beginning("c", "out"), proxy.Ending{Outcome: "refused", Rules: map[string]int{"fix-hello-name": 1}})
	j.Ended(beginning("d", "in"), proxy.Ending{Outcome: "ok"})
	for what, c := range map[string]struct{ got, want []string }{
		"refused":         {next(refused), []string{"began a", "line a NOOP", "ended a", "began c", "ended c"}},
		"failed":          {next(failed), []string{"began a", "line a NOOP", "ended a", "began b", "line b EHLO sub2", "ended b"}},
		"refused, healed": {next(both), []string{"began c", "ended c"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", what, c.got, c.want)
		}
	}
}

func TestWhatTheConfigurationChangesHealsNothing(t *testing.T) {
	j := journal.New(10, 1<<20)
	mended, stop := j.Watch(journal.Filter{Healed: true})
	defer stop()
	var d proxy.DialogueListener
	for _, cause := range []string{"", "client_tls", "server_tls", "not-carried", "message_size", "limits", "channel-binding", "requiretls", "xclient"} {
		d = j.Dialogue(beginning(cause, "in"), nil)
		d.Line(transcript.Line{Side: transcript.Server, Mark: transcript.Removed, Text: "250 X", Rule: cause})
		if e := j.Recent()[0]; e.ID != cause || e.Healed() {
			t.Errorf("%q heals: %+v", cause, e)
		}
		end := proxy.Ending{Outcome: "ok"}
		if vocabulary.IsSafeguard(cause) {
			end.Rules = map[string]int{cause: 1} // where safeguards are counted too
		}
		d.End(end)
		if got := next(mended); got != nil {
			t.Errorf("%q is told of as healed: %q", cause, got)
		}
	}
	names := []string{heal.ReplacePrefix + "noop"}
	for _, r := range heal.Table() {
		names = append(names, r.Name)
	}
	for _, name := range names {
		d = j.Dialogue(beginning(name, "in"), nil)
		d.Line(transcript.Line{Side: transcript.Server, Mark: transcript.Removed, Text: "250 X", Rule: "client_tls," + name})
		if e := j.Recent()[0]; e.ID != name || !e.Healed() {
			t.Errorf("%s does not heal: %+v", name, e)
		}
		if got, want := next(mended), []string{"began " + name, "line " + name + " 250 X"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		d.End(proxy.Ending{Outcome: "ok"})
		next(mended)
	}
}

func TestABalancersChecksLeaveRoomForTheOthers(t *testing.T) {
	j := journal.New(3, 1<<20)
	j.Ended(beginning("real", "in"), proxy.Ending{Outcome: "ok"})
	all, stop := j.Watch(journal.Filter{})
	defer stop()
	for range 10 {
		j.Dialogue(beginning("heard", "in"), nil).End(proxy.Ending{Outcome: "silent"})
		j.Ended(beginning("unheard", "in"), proxy.Ending{Outcome: "silent"})
	}
	if got := ids(j.Recent()); !slices.Equal(got, []string{"real true 0"}) {
		t.Errorf("got %q", got)
	}
	if got := next(all); len(got) != 30 {
		t.Errorf("who watches hears %q", got)
	}
}

func TestASlowReaderIsToldHowMuchHeMissed(t *testing.T) {
	const n = 5000
	j := journal.New(10, 1<<20)
	events, stop := j.Watch(journal.Filter{})
	defer stop()
	d := j.Dialogue(beginning("a", "in"), nil)
	for range n {
		d.Line(said)
	}
	seen := len(next(events))
	d.End(proxy.Ending{})
	lost := <-events
	if lost.Kind != journal.Lost || lost.Lost == 0 || seen+lost.Lost != n+1 {
		t.Errorf("saw %d of %d, and then %+v", seen, n+1, lost)
	}
	if got := next(events); !slices.Equal(got, []string{"ended a"}) {
		t.Errorf("then %q", got)
	}
}

func TestNoticesArePlainAndKeepWhatWasSaid(t *testing.T) {
	for _, text := range []string{"NOOP", "", " ", `"quoted"`, "<script>\x1b[2J\xff\u202e", "a\rb\n"} {
		e := journal.Event{Kind: journal.Said, Entry: journal.Entry{ID: "1a", Route: "in", Client: client, Began: time.Unix(0, 0)},
			Line: journal.Line{After: time.Second, Line: transcript.Line{Side: 'S', Mark: '-', Text: text, Rule: "r"}}}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var n journal.Notice
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
		if n.Line() != e.Line.Line || n.Kind != "line" || n.ID != "1a" || n.Route != "in" || n.Client != "192.0.2.7" || !n.At.Equal(time.Unix(1, 0)) {
			t.Errorf("%q became %+v", text, n)
		}
		if strings.ContainsFunc(n.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q became %q", text, n.Text)
		}
	}
	for text, want := range map[string]string{"": "", "sub2.": "sub2.", "a b ": `"a b "`, "\x07": `"\a"`} {
		if got := journal.Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestANoticeHasWhatAppliesAlone(t *testing.T) {
	ended := journal.Event{Kind: journal.Ended, Entry: journal.Entry{ID: "1", Route: "in", Began: time.Unix(0, 0).UTC(), Ended: true,
		End: proxy.Ending{Outcome: "server-lost", Hello: "\x1b", Rules: map[string]int{"r": 2}, While: "waiting", Err: "it\nwent", Lasted: 1500 * time.Millisecond}}}
	refused := journal.Event{Kind: journal.Ended, Entry: journal.Entry{ID: "1", Route: "in", Began: time.Unix(0, 0).UTC(), Ended: true,
		End: proxy.Ending{Outcome: "refused", Refused: proxy.Refusal{Verb: "MAIL", Code: 550, Text: "no\x1b"}}}}
	known := refused
	known.Entry.End.Refused.Means, known.Entry.End.Refused.Do = "not you", "log in"
	for _, c := range []struct {
		e    journal.Event
		want string
	}{
		{journal.Event{Kind: journal.Lost, Lost: 3}, `{"kind":"lost","lost":3}`},
		{journal.Event{Kind: journal.Began, Entry: ended.Entry}, `{"kind":"began","id":"1","route":"in","at":"1970-01-01T00:00:00Z"}`},
		{refused, `{"kind":"ended","id":"1","route":"in","at":"1970-01-01T00:00:00Z","outcome":"refused","refused":{"verb":"MAIL","code":550,"text":"\"no\\x1b\""}}`},
		{known, `{"kind":"ended","id":"1","route":"in","at":"1970-01-01T00:00:00Z","outcome":"refused","refused":{"verb":"MAIL","code":550,"text":"\"no\\x1b\"","means":"not you","do":"log in"}}`},
		{ended, `{"kind":"ended","id":"1","route":"in","at":"1970-01-01T00:00:01.5Z","outcome":"server-lost","hello":"\"\\x1b\"",` +
			`"rules":{"r":2},"while":"waiting","err":"\"it\\nwent\"","seconds":1.5}`},
	} {
		got, err := json.Marshal(c.e)
		if err != nil || string(got) != c.want {
			t.Errorf("%v\n got %s\nwant %s", err, got, c.want)
		}
	}
	event := journal.Event{Kind: journal.Said, Line: journal.Line{Line: transcript.Line{Text: "client TLS"}}}.Notice()
	if event.Side != "" || event.Mark != "~" || !reflect.DeepEqual(event.Line(), transcript.Line{Text: "client TLS"}) {
		t.Errorf("%+v", event)
	}
}

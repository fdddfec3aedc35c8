package record_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/record"
	"smtpshim/rewrite/transcript"
)

// outcomes are what a writer told.
type outcomes chan error

func started(t *testing.T) (*record.Writer, outcomes) {
	t.Helper()
	told := make(outcomes, 10_000)
	w := record.Start(func(_ string, err error) { told <- err })
	t.Cleanup(w.Close)
	return w, told
}

// session has the writer record a session of these lines that began and ended at
// a moment.
func session(w *record.Writer, r *record.Route, id string, at time.Time, e proxy.Ending, lines ...transcript.Line) {
	b := proxy.Beginning{Session: id, Route: r.Name, Client: netip.MustParseAddr("192.0.2.7"), At: at}
	d := w.Dialogue(r, b)
	if d == nil {
		return
	}
	for _, l := range lines {
		d.Line(l)
	}
	d.End(e)
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

func read(t *testing.T, path string) *transcript.File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := transcript.Parse(path, data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return f
}

var noop = transcript.Line{Side: transcript.Client, Mark: transcript.Unchanged, Text: "NOOP"}

// TestARecordingIsTheDialogueItself writes every dialogue of rewrite's testdata,
// and reads the same again, with all it takes to play it.
func TestARecordingIsTheDialogueItself(t *testing.T) {
	names, err := filepath.Glob("../../rewrite/testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in rewrite/testdata: %v", err)
	}
	w, told := started(t)
	dirs := map[string]string{}
	for _, name := range names {
		f := read(t, name)
		r := &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 30, Rules: f.Rules, Options: f.Options, Settings: f.Settings}
		dirs[name] = r.Dir
		session(w, r, "1a", time.Now(), proxy.Ending{Outcome: "ok", Hello: "a\x1b", Err: "b\n-- dialogue --\nc", Rules: map[string]int{"x": 1}}, f.Dialogue...)
	}
	for range names {
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range dirs {
		want, got := read(t, name), read(t, filepath.Join(dir, files(t, dir)[0]))
		settings := map[string]string{}
		maps.Copy(settings, want.Settings)
		settings["client"] = "192.0.2.7"
		if diff := transcript.Compare(want.Dialogue, got.Dialogue); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if !slices.Equal(got.Rules, want.Rules) || !reflect.DeepEqual(got.Options, want.Options) || !reflect.DeepEqual(got.Settings, settings) {
			t.Errorf("%s: %q %v %v", name, got.Rules, got.Options, got.Settings)
		}
	}
}

func TestAnyOctetsCanBeRecorded(t *testing.T) {
	w, told := started(t)
	r := &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 30}
	lines := []transcript.Line{
		{Side: 'C', Mark: '-', Text: "-- dialogue --", Rule: "r"},
		{Side: 'S', Mark: '+', Text: "\x1b[2J\x00\xff\r", Rule: "r"},
		{Side: 'S', Mark: ':', Text: ""},
		{Side: 'C', Mark: ':', Text: ` "a" `},
		{Text: "client TLS"},
	}
	session(w, r, "1a", time.Now(), proxy.Ending{}, lines...)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	if diff := transcript.Compare(lines, read(t, filepath.Join(r.Dir, files(t, r.Dir)[0])).Dialogue); diff != "" {
		t.Error(diff)
	}
}

func TestARecordingSaysWhenAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(outcomes, 1)
		w := record.Start(func(_ string, err error) { told <- err })
		defer w.Close()
		r := &record.Route{Name: "in-2", Dir: t.TempDir(), Octets: 1 << 30}
		began := time.Now() // midnight UTC 2000-01-01
		d := w.Dialogue(r, proxy.Beginning{Session: "1a", Route: "in-2", Client: netip.MustParseAddr("192.0.2.7"), At: began})
		<-time.After(1500 * time.Millisecond)
		d.Line(transcript.Line{Side: 'C', Mark: '-', Text: "EHLO sub2.", Rule: "fix-hello-name"})
		d.Line(transcript.Line{Side: 'C', Mark: '+', Text: "EHLO sub2", Rule: "fix-hello-name"})
		<-time.After(time.Second)
		d.Line(transcript.Line{Side: 'S', Mark: ':', Text: "250 ok"})
		d.End(proxy.Ending{Outcome: "server-lost", Server: "192.0.2.25:25", Hello: "sub2", Messages: 1, Octets: 1024,
			Rules: map[string]int{"fix-hello-name": 1}, ServerTLS: "1.0", ClientAuth: "LOGIN", ServerAuth: "XOAUTH2", Refused: proxy.Refusal{Verb: "RCPT", Code: 450, Text: "4.2.0 \x1blater", Means: "it is full", Do: "make room"}, While: "waiting", Err: "gone\n", Lasted: 2500 * time.Millisecond})
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		name := "20000101T000002.500Z-in-2-1a.txt"
		if got := files(t, r.Dir); !slices.Equal(got, []string{name}) {
			t.Fatalf("%q", got)
		}
		info, err := os.Stat(filepath.Join(r.Dir, name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		const want = `Recorded    session 1a of route in-2
Began       2000-01-01T00:00:00.000Z
Lasted      2.500 s
Outcome     server-lost
Refused     RCPT 450 "4.2.0 \x1blater"
Means       it is full
Do          make room
Server      192.0.2.25:25
Hello       sub2
Messages    1, 1024 octets
Server TLS  1.0
Client AUTH LOGIN
Server AUTH XOAUTH2
Rules       fix-hello-name 1
While       waiting
Error       "gone\n"

Line   Seconds  Rule
   1     1.500  fix-hello-name
   2     1.500  fix-hello-name
   3     2.500`
		if got := read(t, filepath.Join(r.Dir, name)).About; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestOnlyWhatWasAskedForIsRecorded(t *testing.T) {
	healed := proxy.Ending{Outcome: "ok", Rules: map[string]int{"r": 1}}
	failed := proxy.Ending{Outcome: "server-lost"}
	smooth := proxy.Ending{Outcome: "ok"}
	refused := proxy.Ending{Outcome: "refused", Refused: proxy.Refusal{Verb: "MAIL", Code: 550, Text: "no"}}
	for what, c := range map[string]struct {
		r    record.Route
		want string
	}{
		"everything":       {record.Route{}, "healed failed refused smooth"},
		"healed":           {record.Route{OnlyHealed: true}, "healed"},
		"failed":           {record.Route{OnlyFailed: true}, "failed refused"},
		"either":           {record.Route{OnlyHealed: true, OnlyFailed: true}, "healed failed refused"},
		"this client":      {record.Route{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "healed failed refused smooth"},
		"some other host":  {record.Route{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.8/32")}}, ""},
		"a network beside": {record.Route{Clients: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}}, ""},
	} {
		w := record.Start(func(string, error) {})
		c.r.Name, c.r.Dir, c.r.Octets = "in", t.TempDir(), 1<<20
		session(w, &c.r, "healed", time.Now(), healed, noop)
		session(w, &c.r, "failed", time.Now(), failed, noop)
		session(w, &c.r, "refused", time.Now(), refused, noop)
		session(w, &c.r, "smooth", time.Now(), smooth, noop)
		session(w, &c.r, "silent", time.Now(), proxy.Ending{Outcome: "silent"}, noop)
		w.Close()
		var got []string
		for _, id := range []string{"healed", "failed", "refused", "smooth", "silent"} {
			if strings.Contains(strings.Join(files(t, c.r.Dir), " "), "-in-"+id+".txt") {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// kept records sessions 0 to 9, a minute after one another, and gives those whose
// files are left.
func kept(t *testing.T, r record.Route) (ids string) {
	t.Helper()
	w := record.Start(func(string, error) {})
	r.Name = "in"
	w.Tend(&r)
	for i := range 10 {
		session(w, &r, fmt.Sprint(i), time.Now().Add(time.Duration(i-10)*time.Minute), proxy.Ending{Outcome: "ok"}, noop)
	}
	w.Close()
	for _, name := range files(t, r.Dir) {
		if _, id, ours := strings.Cut(name, "Z-in-"); ours {
			ids += strings.TrimSuffix(id, ".txt")
		}
	}
	return ids
}

func TestTheOldestRecordingsMakeRoom(t *testing.T) {
	dir := t.TempDir()
	const each = 300 // a little more than such a file takes
	for what, c := range map[string]struct {
		r    record.Route
		want string
	}{
		"no bound but the octets": {record.Route{Octets: 1 << 20}, "0123456789"},
		"files":                   {record.Route{Octets: 1 << 20, Keep: 3}, "789"},
		"time":                    {record.Route{Octets: 1 << 20, Age: 4*time.Minute + 30*time.Second}, "6789"},
		"octets":                  {record.Route{Octets: 2 * each}, "89"},
	} {
		c.r.Dir = filepath.Join(dir, strings.ReplaceAll(what, " ", "-"))
		if err := os.Mkdir(c.r.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"20200101T000000.000Z-in-2-x.txt", "notes.txt", "20200101T000000.000Z-other-1.txt"} {
			if err := os.WriteFile(filepath.Join(c.r.Dir, name), []byte("of others"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := kept(t, c.r); strings.TrimPrefix(got, "2-x") != c.want {
			t.Errorf("%s: %q are left, want %q", what, got, c.want)
		}
		if n := len(files(t, c.r.Dir)); n != len(c.want)+3 {
			t.Errorf("%s: %d files; those of others are not ours to remove", what, n)
		}
	}
}

func TestFilesOfEarlierRunsAreBoundedToo(t *testing.T) {
	r := record.Route{Dir: t.TempDir(), Octets: 1 << 20}
	old := filepath.Join(r.Dir, "20200101T000000.000Z-in-zz.txt")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept(t, r)
	if _, err := os.Stat(old); err != nil {
		t.Fatal("an old file is gone although nothing bounds its age")
	}
	r.Age = time.Hour
	kept(t, r)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old file is still there: %v", err)
	}
}

// An old process may record sessions to their end beside the one that has taken over.
func TestWhatAnotherProcessHasRecordedGoesInTimeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(outcomes, 1)
		r := &record.Route{Name: "in", Dir: t.TempDir(), Age: time.Hour, Octets: 1 << 30}
		next, old := record.Start(func(string, error) {}), record.Start(func(_ string, err error) { told <- err })
		defer next.Close()
		next.Tend(r)
		synctest.Wait() // it has looked
		session(old, r, "1", time.Now(), proxy.Ending{}, noop)
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		old.Close()
		<-time.After(62 * time.Minute)
		synctest.Wait()
		if got := files(t, r.Dir); len(got) != 0 {
			t.Errorf("%q are left after their time", got)
		}
	})
}

func TestOldFilesGoAlthoughNothingIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(outcomes, 1)
		w := record.Start(func(_ string, err error) { told <- err })
		defer w.Close()
		r := &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 20, Age: time.Hour}
		w.Tend(r)
		session(w, r, "1", time.Now(), proxy.Ending{}, noop)
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		<-time.After(59 * time.Minute)
		if len(files(t, r.Dir)) != 1 {
			t.Error("gone after 59 minutes")
		}
		<-time.After(3 * time.Minute)
		synctest.Wait()
		if len(files(t, r.Dir)) != 0 {
			t.Error("there after 62 minutes")
		}
	})
}

func TestADiskThatFailsLosesTheRecordingAlone(t *testing.T) {
	w, told := started(t)
	r := &record.Route{Name: "in", Dir: filepath.Join(t.TempDir(), "none"), Octets: 1 << 20}
	session(w, r, "1", time.Now(), proxy.Ending{}, noop)
	if err := <-told; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("told %v", err)
	}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	session(w, r, "2", time.Now(), proxy.Ending{}, noop)
	if err := <-told; err != nil {
		t.Errorf("and then %v", err)
	}
}

func TestNothingIsWrittenThroughALinkOfSomebodyElse(t *testing.T) {
	w, told := started(t)
	r := &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 20}
	at, other := time.Now(), filepath.Join(t.TempDir(), "other")
	name := at.UTC().Format("20060102T150405.000Z") + "-in-1.txt"
	if err := os.Symlink(other, filepath.Join(r.Dir, name)); err != nil {
		t.Fatal(err)
	}
	session(w, r, "1", at, proxy.Ending{}, noop)
	if err := <-told; !errors.Is(err, os.ErrExist) {
		t.Errorf("told %v", err)
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other file: %v", err)
	}
}

func TestSessionsNeverWaitForTheDisk(t *testing.T) {
	release := make(chan struct{})
	told := make(outcomes, 10_000)
	stuck := true
	w := record.Start(func(_ string, err error) {
		if err == nil && stuck { // in the writer's goroutine
			stuck = false
			<-release // as if the disk stood still
		}
		told <- err
	})
	r := &record.Route{Name: "in", Dir: t.TempDir(), Octets: 1 << 30}
	const n = 1500
	long := slices.Repeat([]transcript.Line{{Side: 'C', Mark: ':', Text: strings.Repeat("x", 3900)}}, 10)
	for i := range n {
		session(w, r, fmt.Sprint(i), time.Now(), proxy.Ending{}, long...)
	}
	close(release)
	w.Close()
	session(w, r, "late", time.Now(), proxy.Ending{}, noop)
	written, lost := 0, 0
	for range n + 1 {
		if err := <-told; err != nil {
			lost++
		} else {
			written++
		}
	}
	if lost < 2 || written == 0 || written != len(files(t, r.Dir)) {
		t.Errorf("%d are written, %d lost, and there are %d files", written, lost, len(files(t, r.Dir)))
	}
}

func TestADirectoryIsChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, right := range map[string]bool{dir: true, file: false, filepath.Join(dir, "none"): false, "/proc": false} {
		err := (&record.Route{Dir: path}).Check()
		if (err == nil) != right || err != nil && strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"file"}) {
		t.Errorf("%q are left", got)
	}
}

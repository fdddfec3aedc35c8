//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func workloadOf(t *testing.T, name string) *workload {
	t.Helper()
	w, err := findWorkload(name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 9, 1, 2}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}

func TestEachRunIsSetAgainstItsNeighbours(t *testing.T) {
	direct := mean(figure{Rate: 90, CPU: 8, P50: 10, P99: 20}, figure{Rate: 110, CPU: 12, P50: 30, P99: 40})
	if want := (figure{Rate: 100, CPU: 10, P50: 20, P99: 30}); direct != want {
		t.Fatalf("mean is %+v, want %+v", direct, want)
	}
	samples := []sample{
		{Workload: "a", Proxy: "x", figure: figure{Rate: 40, CPU: 20, P50: 25, P99: 35}, Direct: direct},
		{Workload: "a", Proxy: "x", figure: figure{Rate: 50, CPU: 30, P50: 27, P99: 39}, Direct: direct},
		{Workload: "a", Proxy: "x", figure: figure{Rate: 200, CPU: 40, P50: 90, P99: 99}, Direct: direct},
		{Workload: "a", Proxy: "y", figure: figure{Rate: 1, CPU: 1}, Direct: direct},
		{Workload: "b", Proxy: "x", figure: figure{Rate: 1, CPU: 1}, Direct: direct},
	}
	got := summarize(samples, "a", "x")
	if want := (result{runs: 3, cpu: 3, rate: 0.5, p50: 7, p99: 9}); got != want {
		t.Errorf("result is %+v, want %+v", got, want)
	}
	if got := summarize(samples, "c", "x"); got != (result{}) {
		t.Errorf("of no runs: %+v", got)
	}
}

func TestACellIsInRelationToItsReference(t *testing.T) {
	r := result{runs: 1, cpu: 2.1, rate: 0.45, p50: 12, p99: 30, held: 8}
	reference := result{runs: 1, cpu: 2, rate: 0.5, p50: 10, p99: 20, held: 4}
	for _, test := range []struct {
		r, reference result
		kind         kind
		want         string
	}{
		{r, reference, rates, "CPU 2.10 (1.05), rate 0.45 (0.90)"},
		{r, result{}, rates, "CPU 2.10, rate 0.45"},
		{r, reference, waiting, "p50 +12 µs (1.20), p99 +30 µs (1.50), CPU 2.10 (1.05)"},
		{r, reference, holding, "8.0 KiB (2.00)"},
		{result{}, reference, rates, ""},
		{result{runs: 3, failed: 2, cpu: 2}, reference, rates, "2 of 3 failed"},
	} {
		if got := test.r.cell(test.kind, test.reference); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestTheTableHasARowForEachWorkload(t *testing.T) {
	ws := []*workload{workloadOf(t, "text50"), workloadOf(t, "mend50")}
	one := figure{Rate: 10, CPU: 10}
	samples := []sample{
		{Workload: "text50", Proxy: smtpshim, figure: figure{Rate: 5, CPU: 20}, Direct: one},
		{Workload: "text50", Proxy: haproxy, figure: figure{Rate: 5, CPU: 10}, Direct: one},
		{Workload: "mend50", Proxy: smtpshim, figure: figure{Rate: 5, CPU: 30}, Direct: one},
	}
	var out strings.Builder
	writeTable(&out, ws, []proxy{{name: smtpshim}, {name: haproxy}}, samples)
	want := "| workload | smtpshim | haproxy |\n| --- | --- | --- |\n" +
		"| `text50`: " + ws[0].about + " | CPU 2.00 (2.00), rate 0.50 (1.00) | CPU 1.00, rate 0.50 |\n" +
		"| `mend50`: " + ws[1].about + " | CPU 3.00 (1.50), rate 0.50 (1.00) |  |\n\n" + legend
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// small is a workload with a message that is quick to make.
func small(t *testing.T, name string, size int) *workload {
	t.Helper()
	w := *workloadOf(t, name)
	w.size = size
	return &w
}

func TestMessagesAreWhatTheyAreCalled(t *testing.T) {
	const end = "\r\n.\r\n"
	for _, name := range []string{"short10", "large10", "text50", "mend50", "bdat50"} {
		m := newMessage(small(t, name, 20*kib))
		text, ended := strings.CutSuffix(string(m.data), end)
		if !ended || strings.Contains(text, end) {
			t.Errorf("%s: want one end of the message, where it ends", name)
		}
		if strings.Contains(text, "\r") != strings.Contains(text, "\r\n") || len(text) < 19*kib || len(text) > 22*kib {
			t.Errorf("%s: %d octets; want about 20 KiB and no bare CR", name, len(text))
		}
		bare := strings.Count(text, "\n") - strings.Count(text, "\r\n")
		if (bare > 0) != (name == "mend50") {
			t.Errorf("%s: %d bare LFs", name, bare)
		}
		if stops := strings.Count(text, "\n."); (stops > 0) != (name == "text50" || name == "mend50") {
			t.Errorf("%s: %d lines begin with a full stop", name, stops)
		}
		if name != "mend50" && strings.Count(text, "\n.") != strings.Count(text, "\r\n..") {
			t.Errorf("%s: want every full stop at the beginning of a line stuffed", name)
		}
	}
}

func TestAMendedMessageIsTheProseWithoutFaults(t *testing.T) {
	clean, stray := newMessage(small(t, "text50", 20*kib)), newMessage(small(t, "mend50", 20*kib))
	if clean.seen != stray.seen || bytes.Equal(clean.data, stray.data) {
		t.Error("want the same at the sink, of other octets")
	}
	body := strings.TrimSuffix(string(stray.data), ".\r\n")
	lines := []byte(strings.ReplaceAll(body, "\r\n", "\n"))
	if !bytes.Equal(stuffed(lines), clean.data) {
		t.Error("mended, it is not the clean one")
	}
}

func TestAChunkIsAsLongAsItSays(t *testing.T) {
	m := newMessage(small(t, "bdat50", 20*kib))
	command, text, _ := strings.Cut(string(m.chunk), "\r\n")
	if want := "BDAT " + strconv.Itoa(len(text)) + " LAST"; command != want || m.seen.Octets != int64(len(text)) {
		t.Errorf("%q, and %d at the sink; want %q", command, m.seen.Octets, want)
	}
}

// receive plays a client that writes these pieces to a sink, and gives what the
// sink has taken and said.
func receive(t *testing.T, pieces ...string) (tally, string) {
	t.Helper()
	near, far := net.Pipe()
	s := &sink{}
	r := &reception{sink: s, wire: wire{conn: far}}
	go r.run()
	near.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		for _, piece := range pieces {
			io.WriteString(near, piece)
		}
	}()
	said, err := io.ReadAll(near)
	if err != nil {
		t.Fatal(err)
	}
	return s.reset(), string(said)
}

func TestTheSinkSeesTheEndWhereverItIsCut(t *testing.T) {
	const envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
	for _, text := range []string{"", "text\r\n", "\r\n", "..\r\n", "..\r\n..x\r\n", "\n.\n\r\n.\n\n.\r\nx\r\n", "\r.\r\r\n"} {
		onWire := text + ".\r\n"
		whole, _ := receive(t, envelope, onWire, "QUIT\r\n")
		if whole.Messages != 1 || whole.Octets != int64(len(onWire)) {
			t.Fatalf("%q: the sink has %+v, want one message of %d octets", onWire, whole, len(onWire))
		}
		all := onWire + "QUIT\r\n"
		for i := 1; i < len(all); i++ {
			got, said := receive(t, envelope, all[:i], all[i:])
			if got != whole || !strings.HasSuffix(said, "354 go ahead\r\n250 2.0.0 taken\r\n221 2.0.0 bye\r\n") {
				t.Errorf("%q, %q: the sink has %+v and says %q, want %+v", all[:i], all[i:], got, said, whole)
			}
		}
	}
}

func TestTheSinkTellsMessagesApart(t *testing.T) {
	const envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
	one, _ := receive(t, envelope, "one\r\n.\r\n", "QUIT\r\n")
	other, _ := receive(t, envelope, "two\r\n.\r\n", "QUIT\r\n")
	if one.Octets != other.Octets || one.Sum == other.Sum {
		t.Errorf("%+v and %+v; want as many octets and another sum", one, other)
	}
}

func TestTheSinkCountsNoMessageWithoutItsEnd(t *testing.T) {
	near, far := net.Pipe()
	s := &sink{}
	done := make(chan struct{})
	go func() {
		r := &reception{sink: s, wire: wire{conn: far}}
		r.run()
		close(done)
	}()
	go io.Copy(io.Discard, near)
	near.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(near, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
	io.WriteString(near, "text\r\n.")
	near.Close()
	<-done
	if got := s.reset(); got != (tally{}) {
		t.Errorf("the sink has %+v", got)
	}
}

// TestTheGeneratorSendsWhatTheSinkTakes is a short run of each way to send, and
// without a proxy.
func TestTheGeneratorSendsWhatTheSinkTakes(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificates(dir); err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	for _, name := range []string{"short10", "multi", "pipe", "text50", "bdat50", "latency", "tls-ecdsa", "tls-rsa", "starttls-ecdsa", "tls-large50"} {
		w := workloadOf(t, name)
		l, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		config, err := serverTLS(w.over, filepath.Join(dir, "ecdsa.pem"), filepath.Join(dir, "rsa.pem"))
		if err != nil {
			t.Fatal(err)
		}
		go s.serve(l, w.over, config)
		g := generator{name: name, message: newMessage(small(t, name, 600*kib))}
		o := g.run(job{Workload: name, Address: l.Addr().String(), For: 20 * time.Millisecond})
		if o.Err != "" || o.Done == 0 {
			t.Errorf("%s: %d done, error %q", name, o.Done, o.Err)
		}
		if got := s.reset(); got != o.Seen {
			t.Errorf("%s: the sink has %+v, want %+v", name, got, o.Seen)
		}
	}
}

func TestIdleSessionsAreHeldUntilTheyAreChecked(t *testing.T) {
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &sink{}
	go s.serve(l, plain, nil)
	var g generator
	held := g.run(job{Workload: "idle", Address: l.Addr().String(), Sessions: 30})
	checked := g.run(job{Workload: "idle", Check: true})
	if held.Done != 30 || held.Err != "" || checked.Done != 30 || checked.Err != "" {
		t.Fatalf("%+v, then %+v; want 30 sessions", held, checked)
	}
	for _, c := range g.held {
		c.conn.Close()
	}
	if checked := g.run(job{Workload: "idle", Check: true}); checked.Err == "" {
		t.Error("sessions that are closed pass for held ones")
	}
}

func TestEveryConfigurationCanBeFilled(t *testing.T) {
	full := setting{Dir: "/tmp", Listen: map[string]string{}, Admin: "127.0.0.1:1", Server: "127.0.0.1:2", Host: "127.0.0.1", Port: "2", Directions: "127.0.0.1:3", Sessions: 10, Connections: 20}
	for _, name := range listeners {
		full.Listen[name] = "127.0.0.1:4"
	}
	for _, p := range proxies(smtpshim, "") {
		file := filepath.Join(t.TempDir(), p.config)
		if err := p.configure(file, &full); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), full.Server) && !strings.Contains(string(text), "Auth-Port "+full.Port+";") {
			t.Errorf("%s: %v; want the sink's address in it", p.config, err)
		}
	}
}

func TestAProcessIsAccountedForUntilItIsStopped(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := start(t.TempDir(), "cat", exec.Command("sh", "-c", "sleep 100 & echo some words >&2; wait"))
	if err != nil {
		t.Fatal(err)
	}
	for err = p.find(); err == nil && len(p.pids) < 2; err = p.find() {
		runtime.Gosched()
	}
	_, cpuErr := p.cpu()
	memory, memoryErr := p.memory()
	if err != nil || cpuErr != nil || memoryErr != nil || memory < kib {
		t.Errorf("%d octets; errors %v, %v, %v", memory, err, cpuErr, memoryErr)
	}
	p.stop()
	if _, err := p.cpu(); err == nil {
		t.Error("it is still there")
	}
	err = p.find()
	for limit := time.Now().Add(patience); err == nil && time.Now().Before(limit); err = p.find() {
		runtime.Gosched()
	}
	if err == nil || !strings.Contains(err.Error(), "some words") {
		t.Errorf("%v; want its last words", err)
	}
}

func TestTheCallsThatStraceCountsAreThoseOfAnOperation(t *testing.T) {
	const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           2       300        10 recvfrom
 40.00    0.000400           4       100           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           2       400        10 total
`
	file := filepath.Join(t.TempDir(), "calls")
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readCalls(file, 100)
	if err != nil || c.all() != 4 || c["recvfrom"] != 3 || c["sendto"] != 1 {
		t.Errorf("%v, %v", c, err)
	}
	var out strings.Builder
	writeCalls(&out, "short10", []string{"x", "y"}, []calls{c, {"sendto": 2.04, "futex": 0.04}})
	want := "| calls, `short10` | x | y |\n| --- | --- | --- |\n| recvfrom | 3.0 | 0.0 |\n| sendto | 1.0 | 2.0 |\n| in all | 4.0 | 2.1 |\n\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", &out, want)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readCalls(file, 100); err == nil {
		t.Error("an empty file is no error")
	}
}

func TestARunKeepsToTheProcessorsThatItIsGiven(t *testing.T) {
	runtime.LockOSThread() // and the thread ends with this test
	if err := keepTo(1); err != nil {
		t.Fatal(err)
	}
	if n := processors(); n != 1 {
		t.Errorf("%d processors are left, want 1", n)
	}
	out, err := exec.Command("nproc").Output()
	if err != nil || string(out) != "1\n" {
		t.Errorf("a process sees %q, %v", out, err)
	}
	if err := keepTo(2); err == nil {
		t.Error("two of one processor is no error")
	}
}

func TestTheBuildBeforeIsComparedRoundByRound(t *testing.T) {
	var samples []sample
	for round, cpu := range []float64{100, 110, 120, 130} {
		samples = append(samples,
			sample{Workload: "short10", Proxy: smtpshim, Round: round, figure: figure{CPU: cpu, Rate: 50}},
			sample{Workload: "short10", Proxy: before, Round: round, figure: figure{CPU: 100, Rate: 100}})
	}
	samples[0].Err = "failed" // so the first round has no ratio
	w, err := findWorkload("short10")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	writeChanges(&out, []*workload{w}, samples)
	want := "CPU over the build before in `short10`: 1.200 (quartiles 1.150 and 1.250, 3 rounds)\n" +
		"rate over the build before in `short10`: 0.500 (quartiles 0.500 and 0.500, 3 rounds)\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	out.Reset()
	writeChanges(&out, []*workload{w}, samples[:1])
	if out.String() != "" {
		t.Errorf("got %q of one build", &out)
	}
}

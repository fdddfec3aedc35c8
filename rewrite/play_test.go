package rewrite_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

var update = flag.Bool("update", false, "write what the rules do now into testdata; git diff judges")

// TestRulesDoWhatTheTranscriptsSay plays every dialogue of testdata against the
// rules alone, without a network.
func TestRulesDoWhatTheTranscriptsSay(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in testdata: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) { playFile(t, name) })
	}
}

func parseFile(t *testing.T, name string) *transcript.File {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := transcript.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func playFile(t *testing.T, name string) {
	f := parseFile(t, name)
	got := play(t, f, silent{})
	diff := transcript.Compare(f.Dialogue, got)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("%s:\n%s", name, diff)
	}
	f.Dialogue = got
	if err := os.WriteFile(name, f.Format(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A player feeds a dialogue with what both sides of a file say, each in its
// order, whenever the dialogue waits for it, and writes down what comes out.
type player struct {
	d              *rewrite.Dialogue
	file           []transcript.Line
	client, server []input // what is left to be said
	pipelines      string  // "groups": the client waits for as little as RFC 2920 asks; "everything": for nothing
	said           string  // the client's last line
	behind         bool    // the server has said more than this reply
	connections    int
	heard          []transcript.Line
}

// open is the beginning of a client's connection, which a rule has to take.
func (p *player) open(begins string) {
	switch begins {
	case "tls":
		if p.d.Open([]byte{22, 3, 1}, false); p.d.BeginsTLS() {
			p.event("client TLS")
		}
	case "in clear":
		if p.d.Open(nil, false) > 0 {
			p.d.Open(nil, true)
		}
	}
}

// input is a line of a file that one side says, with its place there.
type input struct {
	place int
	line  transcript.Line
}

func play(t *testing.T, f *transcript.File, l rewrite.Listener) []transcript.Line {
	t.Helper()
	return playUnder(t, policyOf(t, f), f, l)
}

// playUnder is play with another policy than the file has.
func playUnder(t *testing.T, policy *rewrite.Policy, f *transcript.File, l rewrite.Listener) []transcript.Line {
	t.Helper()
	p := &player{d: rewrite.New(policy, clientOf(f), l), file: f.Dialogue, pipelines: f.Settings["pipelines"]}
	p.d.Connected(netip.AddrPortFrom(clientOf(f), 49152), destinationOf(f))
	for i, l := range f.Dialogue {
		in := input{i, l}
		switch {
		case l.Mark == transcript.Added:
		case l.Side == transcript.Client, strings.HasPrefix(l.Text, "message "), strings.HasPrefix(l.Text, "chunk "):
			p.client = append(p.client, in)
		case l.Side == transcript.Server, l.Text == "server lost", l.Text == "server TLS failed":
			p.server = append(p.server, in)
		}
	}
	if begins := f.Settings["begins"]; begins != "" {
		p.open(begins)
	}
	for p.step() {
	}
	defer p.d.Close()
	if failure := p.d.Failure(); (failure == "") != (p.d.Reason() == "") {
		t.Errorf("failed for %q, and the reason is %q", failure, p.d.Reason())
	}
	for _, in := range append(p.client, p.server...) {
		l := in.line
		if l.Mark = transcript.Removed; l.Side == 0 || p.d.Next(false) != rewrite.End {
			l = transcript.Line{Text: "never waited for: " + in.line.String()}
		}
		p.hear(l)
	}
	return p.heard
}

func policyOf(t *testing.T, f *transcript.File) *rewrite.Policy {
	t.Helper()
	names := f.Rules
	if f.Settings["chunking"] == "hide" {
		names = append(slices.Clone(names), "chunking")
	}
	rules, errs := heal.Compile(names, f.Options)
	if errs != nil {
		t.Fatal(errs)
	}
	policy := &rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}
	policy.Afresh = f.Settings["afresh"] == "yes"
	policy.VerifiesServer = f.Settings["verified"] == "yes"
	for key, limit := range map[string]*int{
		"idle": &policy.Limits.Idle, "recipients": &policy.Limits.Recipients, "messages": &policy.Limits.Messages,
	} {
		if v := f.Settings[key]; v != "" {
			if _, err := fmt.Sscan(v, limit); err != nil {
				t.Fatal(err)
			}
		}
	}
	if v := f.Settings["message_size"]; v != "" {
		if _, err := fmt.Sscan(v, &policy.Limits.MessageSize); err != nil {
			t.Fatal(err)
		}
	}
	for key, set := range map[string]func(string) error{
		"client_tls":    func(v string) error { return policy.ClientTLS.UnmarshalText([]byte(v)) },
		"server_tls":    func(v string) error { return policy.ServerTLS.UnmarshalText([]byte(v)) },
		"auth_in_clear": func(v string) error { return policy.ClearLogin.UnmarshalText([]byte(v)) },
		"xclient":       func(v string) error { return policy.XCLIENT.UnmarshalText([]byte(v)) },
		"xclient_from": func(v string) error {
			policy.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix(v)}
			return nil
		},
	} {
		if v := f.Settings[key]; v != "" {
			if err := set(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return policy
}

// destinationOf is where the client of a file has connected to.
func destinationOf(f *transcript.File) netip.AddrPort {
	if clientOf(f).Is6() {
		return netip.MustParseAddrPort("[::1]:25")
	}
	return netip.MustParseAddrPort("127.0.0.1:25")
}

func clientOf(f *transcript.File) netip.Addr {
	if v := f.Settings["client"]; v != "" {
		return netip.MustParseAddr(v)
	}
	return netip.MustParseAddr("192.0.2.7")
}

// step does what the dialogue waits for. It is false when the end has come, or
// when the file has nothing of what is waited for.
func (p *player) step() bool {
	d := p.d
	next := d.Next(p.ahead() || len(p.client) > 0 && !p.serverFirst())
	if (next == rewrite.AwaitCommand || next == rewrite.AwaitSASL || next == rewrite.AwaitMessage) && p.serverFirst() {
		next = rewrite.AwaitReply // to nothing, or before the message has ended
	}
	switch next {
	case rewrite.AwaitServer:
		return p.reply(func(raw []byte) {
			if p.connections++; p.connections > 1 {
				p.event("server again")
			}
			d.Greeting(raw)
		})
	case rewrite.AwaitReply:
		return p.reply(func(raw []byte) { d.Reply(raw, p.ahead(), p.behind) })
	case rewrite.AwaitCommand:
		return p.line(func(raw []byte) bool { return d.Command(raw, p.ahead()) })
	case rewrite.AwaitSASL:
		return p.line(func(raw []byte) bool { d.SASL(raw); return true })
	case rewrite.AwaitMessage, rewrite.AwaitDiscard:
		return p.counted("message %d bytes", d.MessageEnd)
	case rewrite.AwaitChunk, rewrite.AwaitChunkDiscard, rewrite.AwaitChunkText:
		return p.counted("chunk %d bytes", func(int64) { d.ChunkEnd() })
	case rewrite.AwaitClientTLS:
		p.event("client TLS")
		d.ClientTLS()
	case rewrite.AwaitServerTLS:
		p.serverTLS()
	case rewrite.AwaitOctets:
		if len(p.client) == 0 {
			return false
		}
		text := p.client[0].line.Text
		d.Octets([]byte(text + "\r\n"))
		if d.Next(false) == rewrite.End { // they go nowhere
			p.client = p.client[1:]
			p.flush([]string{text}, nil)
		}
	case rewrite.AwaitAdmission:
		d.Admitted(true)
	case rewrite.Opaque:
		return p.opaque()
	case rewrite.End:
		return false
	}
	p.flush(nil, nil)
	return true
}

// serverFirst says that in the file it is the server's turn.
func (p *player) serverFirst() bool {
	return len(p.server) > 0 && (len(p.client) == 0 || p.server[0].place < p.client[0].place)
}

// ahead says that the client has sent more already.
func (p *player) ahead() bool {
	return len(p.client) > 0 && (p.pipelines == "everything" || p.pipelines == "groups" && inGroup(p.said))
}

// inGroup says that a group goes on behind this command (RFC 2920, 3.1).
func inGroup(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	return verb == "MAIL" || verb == "RCPT" || verb == "RSET"
}

// reply takes the server's next reply, or its hanging up. What follows it
// without anything between came with it.
func (p *player) reply(give func(raw []byte)) bool {
	if len(p.server) == 0 {
		return false
	}
	if p.server[0].line.Text == "server lost" {
		p.server = p.server[1:]
		p.event("server lost")
		p.d.Lost()
		p.flush(nil, nil)
		return true
	}
	said := p.together()
	raw, lines := p.mend(said)
	if lines == 0 {
		raw, lines = firstReply(said)
	}
	p.behind = lines < len(said)
	p.server = p.server[lines:]
	n, err := rewrite.WholeReply(raw)
	switch {
	case len(raw) == 0: // the rules have dropped it
	case err != nil || n != len(raw):
		p.d.Garbage()
	default:
		give(raw)
	}
	p.flush(nil, said[:lines])
	return true
}

// firstReply takes the lines of the first reply, as they are.
func firstReply(said []string) (raw []byte, lines int) {
	for _, text := range said {
		if lines++; len(text) < 4 || text[3] != '-' {
			break
		}
	}
	return []byte(strings.Join(said[:lines], "\r\n") + "\r\n"), lines
}

// mend has the rules repair what the server says at once. It returns the reply that
// they make of the first lines; of none if they mend nothing.
func (p *player) mend(said []string) (raw []byte, lines int) {
	octets := []byte(strings.Join(said, "\r\n") + "\r\n")
	for quiet := int64(0); ; {
		n, made, ok, wait := p.d.Repair(octets, quiet)
		switch {
		case ok:
			return made, strings.Count(string(octets[:n]), "\r\n")
		case wait <= quiet || wait > 5000:
			return nil, 0
		}
		quiet = wait
	}
}

// together is what the server says at once: in the file there is nothing between
// but what it does not say.
func (p *player) together() (said []string) {
	for i, in := range p.server {
		if in.line.Side != transcript.Server || i > 0 && !p.follows(p.server[i-1].place, in.place) {
			break
		}
		said = append(said, in.line.Text)
	}
	return said
}

// follows reports whether the server says the line at next with the one at place.
func (p *player) follows(place, next int) bool {
	for _, l := range p.file[place+1 : next] {
		if l.Side != transcript.Server || l.Mark != transcript.Added {
			return false
		}
	}
	return true
}

// line takes the client's next line.
func (p *player) line(give func(raw []byte) bool) bool {
	if len(p.client) == 0 {
		return false
	}
	text := p.client[0].line.Text
	rest := p.client[1:]
	p.client, p.said = rest, text
	if !give([]byte(text + "\r\n")) {
		p.client = append([]input{{-1, transcript.Line{Side: transcript.Client, Text: text}}}, rest...)
		return true
	}
	p.flush([]string{text}, nil)
	return true
}

// counted takes a message or chunk.
func (p *player) counted(format string, give func(int64)) bool {
	if len(p.client) == 0 {
		return false
	}
	var n int64
	if _, err := fmt.Sscanf(p.client[0].line.Text, format, &n); err != nil {
		return false
	}
	p.event(p.client[0].line.Text)
	p.client = p.client[1:]
	give(n)
	p.flush(nil, nil)
	return true
}

func (p *player) serverTLS() {
	if len(p.server) > 0 && p.server[0].line.Text == "server TLS failed" {
		p.server = p.server[1:]
		p.event("server TLS failed")
		p.d.ServerTLSFailed()
		return
	}
	p.event("server TLS")
	p.d.ServerTLS()
}

// opaque passes on what is left, in the order of the file.
func (p *player) opaque() bool {
	p.event("opaque")
	all := append(append([]input(nil), p.client...), p.server...)
	p.client, p.server = nil, nil
	for len(all) > 0 {
		first := 0
		for i, in := range all {
			if in.place < all[first].place {
				first = i
			}
		}
		l := all[first].line
		l.Mark = transcript.Unchanged
		p.hear(l)
		all = append(all[:first], all[first+1:]...)
	}
	return false
}

func (p *player) event(what string) { p.hear(transcript.Line{Text: what}) }

func (p *player) hear(l ...transcript.Line) { p.heard = append(p.heard, l...) }

// flush writes down what came out for what one side has said.
func (p *player) flush(client, server []string) {
	toServer, toClient := linesOf(p.d.ToServer), linesOf(p.d.ToClient)
	p.d.ToServer, p.d.ToClient = nil, nil
	if server != nil {
		p.hear(transcript.Diff(transcript.Server, server, toClient, "")...)
		p.hear(transcript.Diff(transcript.Client, nil, toServer, "")...)
		return
	}
	p.hear(transcript.Diff(transcript.Client, client, toServer, "")...)
	p.hear(transcript.Diff(transcript.Server, nil, toClient, "")...)
}

func linesOf(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n")
}

// silent is a listener that hears nothing.
type silent struct{}

func (silent) Command(rewrite.Verb)              {}
func (silent) Replied(rewrite.Verb, int, []byte) {}
func (silent) Applied(string)                    {}
func (silent) Broke(_, _ string)                 {}
func (silent) Limited(vocabulary.Limit)          {}
func (silent) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}

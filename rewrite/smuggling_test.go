package rewrite_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// A serverReader is how a server behind us may understand what it gets: what
// ends a command for it, and what ends a message.
type serverReader struct {
	lineEnds []string
	textEnds []string
	without  string // octets that it drops before it looks
}

// serverReaders: the first is strict, the others are the lenient ones that are known,
// and one that is as lenient as can be.
var serverReaders = map[string]serverReader{
	"strict":       {lineEnds: []string{"\r\n"}, textEnds: []string{"\r\n.\r\n"}},
	"LF.LF":        {lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\r\n.\r\n", "\n.\n"}},
	"LF.CRLF":      {lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\n.\r\n"}},
	"CRLF.LF":      {lineEnds: []string{"\r\n", "\n"}, textEnds: []string{"\r\n.\r\n", "\r\n.\n"}},
	"CR.CR":        {lineEnds: []string{"\r\n", "\r"}, textEnds: []string{"\r\n.\r\n", "\r.\r"}},
	"any line end": {lineEnds: []string{"\r\n", "\n", "\r"}, textEnds: []string{"\r\n.\r\n", "\n.\r\n", "\n.\n", "\r.\r\n", "\r.\n", "\r.\r", "\n.\r", "\r\n.\n", "\r\n.\r"}},
	"NUL dropped":  {lineEnds: []string{"\r\n"}, textEnds: []string{"\r\n.\r\n"}, without: "\x00"},
	"CR dropped":   {lineEnds: []string{"\n"}, textEnds: []string{"\n.\n"}, without: "\r"},
}

// sees gives what a server understands of all that was written to it: commands
// and messages. It answers 354 to every DATA.
func (r serverReader) sees(written []byte) []string {
	s := strings.NewReplacer(pairs(r.without)...).Replace(string(written))
	var seen []string
	for s != "" {
		line, rest, ok := cutFirst(s, r.lineEnds)
		if !ok {
			return append(seen, "unfinished")
		}
		s = rest
		seen = append(seen, "command "+line)
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case verb == "DATA":
			text, rest, ok := cutFirst("\r\n"+s, dropped(r.textEnds, r.without))
			if !ok {
				return append(seen, "unfinished message")
			}
			seen, s = append(seen, "message "+strings.TrimPrefix(text, "\r\n")), rest
		case strings.HasPrefix(verb, "BDAT "):
			size, _, ok := rewrite.ParseChunk([]byte(line))
			if !ok || int(size) > len(s) {
				return append(seen, "unfinished chunk")
			}
			seen, s = append(seen, "chunk "+s[:size]), s[size:]
		}
	}
	return seen
}

func pairs(octets string) []string {
	var p []string
	for _, o := range octets {
		p = append(p, string(o), "")
	}
	return p
}

func dropped(ends []string, octets string) []string {
	var left []string
	for _, end := range ends {
		left = append(left, strings.NewReplacer(pairs(octets)...).Replace(end))
	}
	return left
}

// cutFirst cuts s at the earliest of the separators; of two at one place the
// longer one counts.
func cutFirst(s string, separators []string) (before, behind string, ok bool) {
	at, length := -1, 0
	for _, sep := range separators {
		i := strings.Index(s, sep)
		if i >= 0 && (at < 0 || i < at || i == at && len(sep) > length) {
			at, length = i, len(sep)
		}
	}
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+length:], true
}

// comparable makes what readers see the same for all that see the same: some
// drop octets that are in text for others, or count a part of the last line end
// to the text.
func comparable(seen []string, without string) []string {
	var out []string
	for _, s := range seen {
		s = strings.NewReplacer(pairs(without)...).Replace(s)
		if strings.HasPrefix(s, "message ") {
			s = strings.TrimRight(s, "\r")
		}
		out = append(out, strings.ReplaceAll(s, "\r\n", "\n"))
	}
	return out
}

// A shim is a session without connections: what a client sends, in pieces, goes
// through a Dialogue and a Message as it does in package proxy, to a server that
// says yes to everything.
type shim struct {
	d       *rewrite.Dialogue
	in      []byte // sent by the client and not taken
	written []byte // to the server
	heard   []byte // by the client
	message *rewrite.Message
	stuffer rewrite.Stuffer
	left    int64 // of a chunk
}

func newShim(policy *rewrite.Policy) *shim {
	s := &shim{d: rewrite.New(policy, netip.MustParseAddr("192.0.2.7"), &kept{})}
	s.d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	return s
}

// take goes as far as it can with what the client has sent.
func (s *shim) take() {
	for s.step() {
	}
}

// step says whether it could do anything.
func (s *shim) step() bool {
	defer s.flush()
	line := s.in[:bytes.IndexByte(s.in, '\n')+1]
	switch s.d.Next(len(line) > 0) {
	case rewrite.AwaitCommand:
		if len(line) == 0 {
			return false
		}
		if s.d.Command(line, len(s.in) > len(line)) {
			s.in = s.in[len(line):]
		}
	case rewrite.AwaitReply:
		s.flush()
		ahead := len(s.in) > 0
		s.d.Reply([]byte(s.answer()), ahead, false)
	case rewrite.AwaitMessage, rewrite.AwaitDiscard:
		return s.text()
	case rewrite.AwaitChunk, rewrite.AwaitChunkDiscard, rewrite.AwaitChunkText:
		return s.chunk()
	default:
		return false
	}
	return true
}

// answer is the server's answer to the oldest command.
func (s *shim) answer() string {
	switch s.d.Awaited() {
	case rewrite.VerbEHLO:
		return "250-mail.example.com\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
	case rewrite.VerbDATA:
		return "354 go on\r\n"
	case rewrite.VerbBDAT:
		if s.d.Told() == rewrite.VerbDATA {
			return "354 go on\r\n"
		}
	case rewrite.VerbQUIT:
		return "221 bye\r\n"
	}
	return "250 ok\r\n"
}

func (s *shim) text() bool {
	if s.message == nil {
		s.message = &rewrite.Message{}
	}
	out, n, end := s.message.Next(nil, s.in)
	if s.d.Next(false) == rewrite.AwaitMessage {
		s.written = append(s.written, out...)
	}
	s.in = s.in[n:]
	if end {
		s.d.MessageEnd(0)
		s.message = nil
	}
	return n > 0
}

func (s *shim) chunk() bool {
	if s.left == 0 {
		s.left = s.d.ChunkSize()
	}
	n := min(int64(len(s.in)), s.left)
	switch piece := s.in[:n]; s.d.Next(false) {
	case rewrite.AwaitChunk:
		s.written = append(s.written, piece...)
	case rewrite.AwaitChunkText:
		s.written = s.stuffer.Append(s.written, piece)
	}
	s.in, s.left = s.in[n:], s.left-n
	if s.left > 0 {
		return n > 0
	}
	if s.d.Next(false) == rewrite.AwaitChunkText && s.d.ChunkIsLast() {
		s.written = s.stuffer.End(s.written)
		s.stuffer = rewrite.Stuffer{}
	}
	s.d.ChunkEnd()
	return true
}

func (s *shim) flush() {
	if !s.d.ServerGone() {
		s.written = append(s.written, s.d.ToServer...)
	}
	s.heard = append(s.heard, s.d.ToClient...)
	s.d.ToServer, s.d.ToClient = nil, nil
}

// smugglingPolicies are the routes that a client may meet.
func smugglingPolicies(t testing.TB) []*rewrite.Policy {
	t.Helper()
	var all []*rewrite.Policy
	for _, names := range [][]string{nil, {"standard"}, {"chunking"}, {"standard", "chunking"}, {"bdat-to-data"}} {
		all = append(all, &rewrite.Policy{Rules: compile(t, names...), Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}})
	}
	return all
}

// checkSmuggling sends octets in pieces, and holds what the lenient servers see
// against what the strict one sees.
func checkSmuggling(t *testing.T, policy *rewrite.Policy, sent []byte, pieces int) {
	t.Helper()
	s := newShim(policy)
	for rest := sent; len(rest) > 0; {
		n := len(rest)
		if pieces > 0 {
			n = min(n, pieces)
		}
		s.in = append(s.in, rest[:n]...)
		rest = rest[n:]
		s.take()
	}
	strict := serverReaders["strict"].sees(s.written)
	for name, reader := range serverReaders {
		got, want := comparable(reader.sees(s.written), reader.without), comparable(strict, reader.without)
		if hasChunks(s.written) && reader.without != "" {
			continue // it cannot count
		}
		if !slices.Equal(got, want) {
			t.Fatalf("sent %q, written %q: %s sees\n%q, the strict one\n%q", sent, s.written, name, got, want)
		}
	}
}

func hasChunks(written []byte) bool { return bytes.Contains(bytes.ToUpper(written), []byte("BDAT")) }

// textEnds are all that somebody has been known to take for the end of a message.
var textEnds = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\n", "\r.\r\n", "\n.\r", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\r\n.\n",
	"\r\r\r\n.\r\r\r\n", "\n.\r\r\n", "\n..\n", "\n..\r\n", "\n.x\n..\n", "\n..x\n.\n", "\r\r\n..\r\r\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n.\r\x00\n", "\n\x00.\n", strings.Repeat("x", 2048) + "\n.\r\n",
	strings.Repeat("x", 4096) + ".\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\r\n .\r\n", "\r\n.\v\r\n", "\r\n.\f\r\n", "\r\n.\x1c\r\n", "\r\n.\x1e\r\n",
	"\r\n.\xc2\x85\r\n", "\r\n\x85.\x85\r\n", "\u2028.\u2028", "\r\n\uff0e\r\n", "\r\n.text\r\n", "\r\n..\r\n",
}

const smuggled = "MAIL FROM:<smuggled@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nsmuggled\r\n.\r\n"

func TestNoReaderSeesAnotherMessage(t *testing.T) {
	const begin = "EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"
	for _, policy := range smugglingPolicies(t) {
		for _, end := range textEnds {
			text := "Subject: x\r\n\r\ntext" + end + smuggled
			for _, sent := range []string{
				begin + "DATA\r\n" + text + "\r\n.\r\nQUIT\r\n",
				begin + fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(text), text),
				begin + fmt.Sprintf("BDAT 7\r\n%sBDAT %d\r\n%sBDAT 0 LAST\r\nQUIT\r\n", text[:7], len(text)-7, text[7:]),
				begin + fmt.Sprintf("BDAT 4\r\ntextDATA\r\n%s\r\n.\r\nQUIT\r\n", text),
				"EHLO c\r\nHELO c\r\n" + begin[25:] + fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(text), text),
				begin + "NOOP" + end + "QUIT\r\n", // in a command
			} {
				checkSmuggling(t, policy, []byte(sent), 0)
				checkSmuggling(t, policy, []byte(sent), 1)
				checkSmuggling(t, policy, []byte(sent), 7)
			}
		}
	}
}

// A server that has heard HELO behind EHLO has forgotten what it offered, and
// would run a chunk as commands.
func TestAfterHELONoChunkGetsToTheServer(t *testing.T) {
	s := newShim(smugglingPolicies(t)[0])
	s.in = []byte("EHLO client.example.com\r\nHELO client.example.com\r\nMAIL FROM:<a@example.com>\r\nBDAT 6 LAST\r\nRSET\r\nQUIT\r\n")
	s.take()
	if seen := string(s.written); strings.Contains(seen, "BDAT") || strings.Contains(seen, "RSET") || !strings.HasSuffix(seen, "QUIT\r\n") {
		t.Errorf("the server gets %q", seen)
	}
}

func FuzzSmuggling(f *testing.F) {
	for i, end := range textEnds {
		f.Add([]byte("EHLO c\r\nMAIL FROM:<a>\r\nDATA\r\nx"+end+smuggled+"\r\n.\r\nQUIT\r\n"), uint8(i), uint8(i%5))
		f.Add([]byte("EHLO c\r\nMAIL FROM:<a>\r\nBDAT 40 LAST\r\nx"+end+smuggled+"\r\nQUIT\r\n"), uint8(i), uint8(i%5))
	}
	policies := smugglingPolicies(f)
	f.Fuzz(func(t *testing.T, sent []byte, pieces, policy uint8) {
		checkSmuggling(t, policies[int(policy)%len(policies)], sent, int(pieces))
	})
}

func TestLenientServersDoSeeMore(t *testing.T) { // else they prove nothing
	for name, end := range map[string]string{
		"LF.LF": "\n.\n", "LF.CRLF": "\n.\r\n", "CRLF.LF": "\r\n.\n", "CR.CR": "\r.\r", "any line end": "\r.\n",
		"NUL dropped": "\r\n.\x00\r\n", "CR dropped": "\r\n.\r\r\n",
	} {
		written := []byte("DATA\r\ntext" + end + smuggled)
		if strict, got := serverReaders["strict"].sees(written), serverReaders[name].sees(written); len(got) <= len(strict) {
			t.Errorf("%s sees %q, and the strict one %q", name, got, strict)
		}
	}
}

package rewrite_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// FuzzDialogue has two peers do whatever they like, under rules that it picks. Whatever
// they do, lines stay lines, nothing goes out in clear where that is forbidden, no rule
// does what the engine has to take back, and the client hears a yes to a sender, a
// recipient or a message only where the server has said one.
func FuzzDialogue(f *testing.F) {
	for _, seed := range dialogueSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) { playPeers(t, data, newReached()) })
}

// dialogueSeeds are long enough for the peers to get everywhere: see
// TestTheSeedsGetEverywhere.
func dialogueSeeds() [][]byte {
	seeds := [][]byte{
		{}, []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"),
		[]byte("standard session\x10\x20\x30\x40\x50\x60\x70"), bytes.Repeat([]byte{7, 1, 3}, 60),
		bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 20), bytes.Repeat([]byte{0xff, 0x80, 0x05}, 50),
		// An EHLO that a rule says first is answered with a refusal, on a connection inside TLS:
		// what is said on the fresh one is inside TLS too.
		[]byte("00102000100110021000211000021100102021000002101002002000011002"),
	}
	random := rand.NewChaCha8([32]byte{7})
	for i := range 1000 {
		seed := make([]byte, 800)
		random.Read(seed)
		if i%2 == 0 { // polite peers, the standard rules, and each kind of route in turn
			copy(seed, []byte{0, byte(i / 2 % 2), 1, byte(i / 2), byte(i / 10), byte(i / 40), 1, 1})
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// reached is what the peers have got to.
type reached struct {
	waits   map[rewrite.Next]int
	rules   map[string]int // in force
	options map[string]int // RULE.NAME, with another value than its default
	applied map[string]int // rules that have changed something
}

func newReached() *reached {
	return &reached{map[rewrite.Next]int{}, map[string]int{}, map[string]int{}, map[string]int{}}
}

// TestTheSeedsGetEverywhere keeps FuzzDialogue from leaving out a rule, an option
// or a wait.
func TestTheSeedsGetEverywhere(t *testing.T) {
	got := newReached()
	for _, seed := range dialogueSeeds() {
		playPeers(t, seed, got)
	}
	for next := rewrite.AwaitServer; next <= rewrite.End; next++ {
		if got.waits[next] == 0 {
			t.Errorf("no seed waits for %d", next)
		}
	}
	for _, r := range heal.Table() {
		if got.rules[r.Name] == 0 {
			t.Errorf("no seed has the rule %s in force", r.Name)
		}
		for _, o := range append(r.Options, rewrite.ScopeOptions()...) {
			if got.options[r.Name+"."+o.Name] == 0 {
				t.Errorf("no seed has the option %s of the rule %s", o.Name, r.Name)
			}
		}
	}
}

// playPeers plays one session by what the fuzzer says.
func playPeers(t *testing.T, data []byte, got *reached) { playPeersWith(t, data, got, nil) }

// playPeersWith is playPeers with turns that other sessions have had, and a rest
// wherever one may be. It returns what both sides got.
func playPeersWith(t *testing.T, data []byte, got *reached, turns *rewrite.Turns) (written string) {
	p := &peers{T: t, data: data, got: got}
	p.polite = p.pick(2) == 0
	names, options := chooseRules(p.pick)
	compiled := compileChosen(t, names, options)
	p.odd = !slices.Contains(names, "standard")
	if p.pick(8) == 0 {
		compiled, options = nil, nil
	}
	policy := p.route(compiled)
	policy.Turns = turns
	return p.play(policy, options)
}

// play plays one session on a route, whose rules have these options.
func (p *peers) play(policy *rewrite.Policy, options map[string]map[string]any) (written string) {
	if policy.Rules != nil {
		for _, name := range policy.Rules.Names() {
			p.got.rules[name]++
		}
	}
	for rule, values := range options {
		for name := range values {
			p.got.options[rule+"."+name]++
		}
	}
	p.policy = policy
	p.clientTLS, p.serverTLS = policy.ClientTLS == rewrite.ClientTLSImplicit, policy.ServerTLS == rewrite.ServerTLSImplicit
	p.d = rewrite.New(policy, netip.MustParseAddr("192.0.2.7"), p)
	defer p.close()
	p.open()
	for steps := 0; len(p.data) > 0 && steps < 1000; steps++ {
		next := p.d.Next(p.pick(2) == 0)
		p.got.waits[next]++
		if next == rewrite.End || next == rewrite.Opaque {
			break
		}
		p.step(next)
		written += string(p.d.ToServer) + "|" + string(p.d.ToClient) + "\n"
		p.check(policy)
		if policy.Turns != nil && p.d.Next(false) == rewrite.AwaitCommand && p.d.Outstanding() == 0 {
			p.d.Rest()
		}
	}
	return written
}

// Nothing of one session is in another that has its turns.
func TestATurnThatWasKeptIsLikeANewOne(t *testing.T) {
	turns := rewrite.NewTurns(2)
	defer turns.Close()
	for i, seed := range dialogueSeeds() {
		fresh := playPeersWith(t, seed, newReached(), nil)
		if kept := playPeersWith(t, seed, newReached(), turns); kept != fresh {
			t.Errorf("seed %d: with kept turns\n%swith new ones\n%s", i, kept, fresh)
		}
	}
}

// route is a policy that the fuzzer chooses.
func (p *peers) route(rules *rewrite.Rules) *rewrite.Policy {
	policy := &rewrite.Policy{
		Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 3},
		ClientTLS: rewrite.ClientTLS(p.pick(rewrite.ClientTLSModes)), ServerTLS: rewrite.ServerTLS(p.pick(rewrite.ServerTLSModes)),
		XCLIENT: rewrite.SendXCLIENT(p.pick(rewrite.XCLIENTModes)), Afresh: p.pick(8) == 0,
	}
	if p.pick(2) == 0 {
		policy.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}
	if policy.VerifiesServer = p.pick(8) == 0; policy.VerifiesServer {
		policy.Logins = &books{login: &paper{token: "t0ken", full: p.pick(8) == 0}, open: netip.PrefixFrom(netip.MustParseAddr("192.0.2.0"), 24+8*p.pick(2))}
	}
	return policy
}

// open is the beginning of the client's connection, which rules may change.
func (p *peers) open() {
	octets := [][]byte{nil, {22, 3, 1}, []byte("EHL")}[p.pick(3)]
	wait := p.d.Open(octets, false)
	if wait < 0 || wait > 5000 {
		p.Fatalf("a wait of %d ms before the greeting", wait)
	}
	if wait > 0 && p.d.Open(nil, true) > 0 {
		p.Fatal("the greeting is held back twice")
	}
	p.clientTLS = p.d.BeginsTLS()
}

// FuzzReply: what ScanReply takes for whole replies is made of lines, and is
// the same however it is split.
func FuzzReply(f *testing.F) {
	for _, seed := range fuzzReplies {
		f.Add([]byte(seed + "\r\n"))
	}
	f.Add([]byte("250 ok\n"))
	f.Add([]byte("250-a\r\n250 b\r\n250 c\r\n"))
	f.Add([]byte("250\r\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := rewrite.WholeReply(b)
		if n < 0 || n > len(b) {
			t.Fatalf("%d octets of %d", n, len(b))
		}
		for i := range b {
			if m, e := rewrite.WholeReply(b[:i]); m != 0 && (m != n || (e == nil) != (err == nil)) {
				t.Fatalf("with %d octets: %d, %v; with all: %d, %v", i, m, e, n, err)
			}
		}
		if n == 0 || err != nil {
			return
		}
		raw := b[:n]
		for line := range bytes.Lines(raw) {
			if text, ok := rewrite.CutCRLF(line); !ok || !rewrite.HasCode(text) {
				t.Fatalf("%q is no line of a reply", line)
			}
		}
		code, err := rewrite.ReplyCode(raw)
		if err != nil {
			return
		}
		r := rewrite.ParseReply(raw)
		if made := r.AppendTo(nil); r.Code != code || !bytes.Equal(trimEnds(made), trimEnds(raw)) {
			t.Fatalf("%q becomes %q", raw, made)
		}
	})
}

// trimEnds makes a line that is only a code the same as one with a blank behind it.
func trimEnds(raw []byte) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		out = append(append(out, strings.TrimSuffix(strings.TrimSuffix(string(line), "\r\n"), " ")...), '\n')
	}
	return out
}

// FuzzCommand: one command either passes, as it came or as one line, or is
// answered, and nothing of it gets to the server twice.
func FuzzCommand(f *testing.F) {
	for _, seed := range fuzzCommands {
		f.Add([]byte(seed + "\r\n"))
	}
	f.Add([]byte("EHLO b\xc3\xbccher.example.net.\r\n"))
	f.Add([]byte("NOOP\n"))
	f.Add([]byte("NOOP\r\r\n"))
	rules := standard(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[:i+1]
		}
		d, k := begin(t, rules)
		if !d.Command(raw, false) {
			t.Fatalf("%q was not taken", raw)
		}
		if (len(d.ToServer) == 0) == (len(d.ToClient) == 0) {
			t.Fatalf("the server gets %q, and the client %q", d.ToServer, d.ToClient)
		}
		if len(d.ToServer) == 0 {
			return
		}
		meant := bytes.TrimRight(raw, "\r\n") // command-ends takes CRs before LF, or none
		verb := rewrite.ParseVerb(meant)
		if line, ok := rewrite.CutCRLF(d.ToServer); !ok || rewrite.ParseVerb(line) != verb || rewrite.Uncarried.Has(verb) {
			t.Fatalf("%q becomes %q", raw, d.ToServer)
		}
		if len(k.broke) > 0 || !rewrite.Hellos.Has(verb) && string(meant)+"\r\n" != string(d.ToServer) {
			t.Fatalf("%q becomes %q; broken: %q", raw, d.ToServer, k.broke)
		}
	})
}

// Package play plays recorded dialogues against rules, without a network. Both sides
// say again what they said in the recording, each in its order, and the dialogue of
// package rewrite handles it as in a session.
//
// A recording shows what each peer said after the lines that it got in that session.
// With other rules, a peer may get other lines. Play goes on if the recording still
// shows what the peer would say, and stops if it does not. It never makes up what a
// peer would say.
//
// A recording does not contain the text of messages. Rules that change only the text
// therefore do nothing, unless another program has recorded the text. Logins of
// smtpshim's own do nothing either.
package play

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// A Result is what Play returns: the dialogue that a recording becomes under other
// rules, and what the rules did.
type Result struct {
	// Lines are the resulting dialogue, each changed line with the rules that changed it.
	// They contain no credentials and no SASL lines, even if the recording does.
	Lines []transcript.Line

	Rules    []Act     // what rules did, in the order in which they first acted
	Refusals []Refusal // refusals that the client would get, or that the server gave
	Broke    []string  // rules that panicked or whose result was not allowed: "RULE: WHY"

	// Assumed is the first place where the server gets something else than in the
	// recording, and Play assumes that its replies are the same. Play does so in two
	// cases: a command that the server accepted in the recording has another argument,
	// or a command that changes nothing, such as NOOP, is not sent to the server.
	Assumed Change
	// Unknown is the place from which the recording no longer shows how the dialogue
	// goes on. What follows was not played.
	Unknown Change
	// Said is the number of lines, messages and events, such as "server lost", that
	// come from the peers in the recording. Played is how many of them came before the
	// play ended. It includes replies to commands that the server did not get.
	Played, Said int
}

// An Act says how often one rule acted, and where first.
type Act struct {
	Rule  string
	Count int
	Line  int             // the line of the recording's dialogue, from 1 on, at which it first acted
	Said  transcript.Line // the first line that it changed, without credentials; zero: it changed no line
}

// A Refusal is a 4xx or 5xx reply: of the server, or of smtpshim to the client.
type Refusal struct {
	Line int    // the line of the recording's dialogue, from 1 on
	Verb string // what was refused, such as "MAIL", "end-of-data" or "greeting"
	Code int    // the code of the server, or of smtpshim if By is set
	Text string // the first line of the reply, without the code; any octets
	// By is "" if the server refused. Otherwise smtpshim refused, and By names the
	// rules or the setting that made it do so, or is "smtpshim".
	By string
	// Healed is "" if the client gets Code too. Otherwise it names the rules or the
	// setting that changed the code or sent the command again, or is "smtpshim".
	Healed string
}

// Unhealed reports whether the client gets r.Code, the code with which the server, or
// smtpshim if By is set, has refused. Healed is then "".
func (r Refusal) Unhealed() bool { return r.Healed == "" }

// A Change is a place where a dialogue departs from its recording.
type Change struct {
	Line int    // the line of the recording's dialogue, from 1 on; 0: it does not depart
	Why  string // the reason, as text for people; "": none
}

// Texts are the texts of the messages of a dialogue. The key is the index, in
// File.Dialogue, of the event that stands for the message. The value is the text in
// wire format, including the line that ends it.
type Texts = map[int]string

// Play plays recording under policy and returns what happens. Of the settings in
// recording, it uses those about the peers: client, begins and pipelines. policy decides
// the rest. texts are the messages of recording, as far as they are known.
func Play(recording *transcript.File, policy *rewrite.Policy, texts Texts) *Result {
	f := *recording
	lines, rest := upToGap(f.Dialogue)
	f.Dialogue = visible(lines)
	g := &game{course: newCourse(lines), recording: f.Dialogue, first: map[string]int{}}
	g.player = newPlayer(&f, policy, g, g)
	g.player.texts = texts
	g.result.Said = len(g.player.client) + len(g.player.server)
	defer g.player.d.Close()
	g.player.play(f.Settings["begins"])
	g.cutShort(policy.Rules.Names())
	g.finish()
	if rest != nil {
		g.result.Said += countSaid(rest)
		if g.result.Unknown.Why == "" {
			g.result.Unknown = Change{len(lines) + 1, "the recording leaves out what comes next: " + rest[0].Text}
		}
	}
	return &g.result
}

// upToGap splits lines at the event that stands for lines left out. If there is none,
// rest is nil.
func upToGap(lines []transcript.Line) (before, rest []transcript.Line) {
	if at := slices.IndexFunc(lines, transcript.Line.IsLeftOut); at >= 0 {
		return lines[:at], lines[at:]
	}
	return lines, nil
}

// countSaid returns the number of lines that a side says.
func countSaid(lines []transcript.Line) (n int) {
	for _, l := range lines {
		if l.Side != 0 && l.Mark != transcript.Added || isOfMessage(l) {
			n++
		}
	}
	return n
}

// visible replaces octets that a recording has hidden by as many octets of base64, so
// that the lines can be said again.
func visible(lines []transcript.Line) []transcript.Line {
	lines = slices.Clone(lines)
	filled := 0
	for i, l := range lines {
		if l.Side == 0 {
			continue
		}
		if before, n := cutHidden(l.Text); n >= 0 && filled+n <= mostFilled {
			lines[i].Text = before + standIn(before, n)
			filled += n
		}
	}
	return lines
}

// standIn returns n octets in place of hidden ones.
func standIn(before string, n int) string {
	const ntlm = "TlRMTVNTUAAB"                                    // how an NTLM message begins
	text := strings.Repeat("QUFB", n/4) + strings.Repeat("=", n%4) // "AAA"
	switch word := strings.TrimSpace(before); {
	case n == 1 && word == "":
		return "*" // the client cancels
	case n >= len(ntlm) && (strings.EqualFold(word, "XAUTH") || strings.EqualFold(word, "AUTH")):
		return ntlm + text[len(ntlm):]
	}
	return text
}

// The most octets that are replaced, in one line and in all.
const (
	mostHidden = 12 << 10
	mostFilled = 512 << 10
)

// cutHidden removes the note about hidden octets from the end of a line. n is their
// number, or -1 if there is no note.
func cutHidden(text string) (before string, n int) {
	at := strings.LastIndex(text, "...(")
	if at < 0 || !strings.HasSuffix(text, " octets)") {
		return text, -1
	}
	if _, err := fmt.Sscanf(text[at:], "...(%d octets)", &n); err != nil || n < 0 || n > mostHidden {
		return text, -1
	}
	return text[:at], n
}

// A game is a play of which the result is wanted. It gets what the dialogue and the
// player report.
type game struct {
	player    *player
	course    *course
	recording []transcript.Line
	result    Result
	told      []transcript.Line // since the player last said something
	applied   []string          // rules that acted, once for each time
	first     map[string]int    // the line of the recording, from 1 on, that a rule changed first
}

func (g *game) Command(rewrite.Verb)              {}
func (g *game) Replied(rewrite.Verb, int, []byte) {}
func (g *game) Limited(vocabulary.Limit)          {}
func (g *game) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}

func (g *game) Applied(rule string) { g.applied = append(g.applied, rule) }

func (g *game) Broke(rule, why string) {
	first, _, _ := strings.Cut(why, "\n")
	g.result.Broke = append(g.result.Broke, rule+": "+first)
}

func (g *game) Exchanged(side byte, said, got []string, by rewrite.Causes) {
	lines := transcript.Exchange(transcript.Side(side), said, got, by.Rules, by.Of)
	g.told = append(g.told, lines...)
	for _, rule := range strings.Split(by.Rules, ",") {
		if g.first[rule] == 0 {
			g.first[rule] = g.player.place + 1
		}
	}
	if side == byte(transcript.Server) {
		g.refused(said, got, by.Rules)
	}
}

// Event implements rewrite.Tracer. It adds the event to the result.
func (g *game) Event(what string) { g.told = append(g.told, transcript.Line{Text: what}) }

func (g *game) event(string)             {}
func (g *game) passed(l transcript.Line) { g.told = append(g.told, l) }

// lost is called for a failed handshake. The dialogue reports a server that hung up.
func (g *game) lost(what string) {
	if what != serverLost {
		g.told = append(g.told, transcript.Line{Text: what})
	}
}

// refused records a reply that is a refusal.
func (g *game) refused(said, got []string, by string) {
	code, text := codeOf(first(said))
	became, becameText := codeOf(first(got))
	r := Refusal{Line: g.player.place + 1, Verb: g.course.refuses, Code: code, Text: text}
	switch {
	case len(said) == 0 && became >= 400:
		r.Code, r.Text = became, becameText
		r.By, r.Verb = cmp.Or(by, "smtpshim"), cmp.Or(g.course.saying, rewrite.VerbGreeting.String())
	case code < 400:
		return
	case became != code:
		r.Healed = cmp.Or(by, "smtpshim")
	}
	g.result.Refusals = append(g.result.Refusals, r)
}

// first returns the first of the lines; "" if there is none.
func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// codeOf returns the code of a line of a reply, 0 if it has none, and the text after it.
func codeOf(line string) (code int, text string) {
	if len(line) < 3 {
		return 0, ""
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, ""
		}
		code = 10*code + int(c-'0')
	}
	return code, line[min(4, len(line)):]
}

// fed is called with the output after each input.
func (g *game) fed(_, _, toServer, toClient []string) {
	at := g.player.place + 1
	for _, rule := range g.applied {
		i := slices.IndexFunc(g.result.Rules, func(a Act) bool { return a.Rule == rule })
		if i < 0 {
			i = len(g.result.Rules)
			g.result.Rules = append(g.result.Rules, Act{Rule: rule, Line: cmp.Or(g.first[rule], at)})
		}
		g.result.Rules[i].Count++
	}
	g.applied = g.applied[:0]
	g.result.Lines = append(g.result.Lines, g.told...)
	g.told = g.told[:0]
	g.course.toServer(toServer, g.player, at)
	g.course.toClient(toClient, g.player, at)
}

// firstBy returns the first line that a rule has changed, as it was said if it was said.
func firstBy(rule string, lines []transcript.Line) transcript.Line {
	for _, l := range lines {
		if l.Side != 0 && slices.Contains(strings.Split(l.Rule, ","), rule) {
			return l
		}
	}
	return transcript.Line{}
}

func (g *game) goesOn() bool          { return g.course.unknown.Why == "" }
func (g *game) replies(said []string) { g.course.reply(said, g.player) }

func (g *game) says(line string) bool { return g.course.says(line, g.player) }

// cutShort adds the rules that have changed a command without a known reply. The dialogue
// would count them when the reply comes.
func (g *game) cutShort(rules []string) {
	for _, rule := range rules {
		if line := g.first[rule]; line > 0 && !slices.ContainsFunc(g.result.Rules, func(a Act) bool { return a.Rule == rule }) {
			g.result.Rules = append(g.result.Rules, Act{Rule: rule, Count: 1, Line: line})
		}
	}
}

// finish records how far the recording was played.
func (g *game) finish() {
	r, left := &g.result, g.player.left()
	g.result.Lines = append(g.result.Lines, g.told...)
	for i := range r.Rules {
		r.Rules[i].Said = firstBy(r.Rules[i].Rule, r.Lines)
	}
	r.Assumed, r.Unknown = g.course.assumed, g.course.unknown
	r.Played = r.Said - len(left)
	ended := g.player.d.Next(false) == rewrite.End
	asRecorded := func(l transcript.Line) bool { return ended && l.Mark == transcript.Removed }
	if r.Unknown.Why != "" || !slices.ContainsFunc(left, func(l transcript.Line) bool { return !asRecorded(l) }) {
		return
	}
	at := len(g.recording)
	for _, in := range append(g.player.client, g.player.server...) {
		at = min(at, max(in.place, g.player.place)+1)
	}
	if ended {
		r.Unknown = Change{at, "the session ends before the recording does"}
		return
	}
	r.Unknown = Change{at, "the recording does not have what comes next: " + g.course.printed(left[0]) + " is not what is waited for"}
}

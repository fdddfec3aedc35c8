// Package play plays recorded dialogues against rules, without a network: what both
// sides said in a recording is said again, in the order in which each side said it, and
// the dialogue of package rewrite does with it what it does in a session.
//
// A recording knows only what the server answered to what it was told, and what the
// client said to what it heard. Under other rules they may be told something else. Play
// goes on where that makes no difference to what is known, and ends where it does; it
// never makes up what a peer would say.
//
// A recording has no text of messages, so rules that change only that do nothing, unless
// another program has written the text down; nor do logins that end at smtpshim.
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

// A Result is what came of a recording under some rules.
type Result struct {
	// Lines are the dialogue as it would be, with the rules that change it. They have no
	// credentials and no SASL lines, whatever the recording has.
	Lines []transcript.Line

	Rules    []Act     // that acted, the first to act first
	Refusals []Refusal // that the client would get, or the server gave
	Broke    []string  // rules that did what cannot be, and how

	// Assumed is where the server is told something else than in the recording, of the
	// same kind, and said yes; its answers from there on are assumed to be the same.
	Assumed Change
	// Unknown is where the recording does not tell any more how the dialogue goes on.
	// What follows it was not played.
	Unknown Change
	Played  int // lines of the recording that were said, messages included
	Said    int // lines of the recording that were said in it
}

// An Act is what one rule did.
type Act struct {
	Rule  string
	Count int
	Line  int             // of the recording's dialogue, from 1 on, at which it acted first
	Said  transcript.Line // the first line that it changed, without credentials; none if it changed another thing, as the text of a message
}

// A Refusal is a reply of 4xx or 5xx.
type Refusal struct {
	Line   int    // of the recording's dialogue, from 1 on
	Verb   string // that was refused
	Code   int    // that the server said, or smtpshim where By says so
	Text   string // behind the code, of the first line; what a peer said
	By     string // on whose account smtpshim refused; "": the server did
	Healed string // the rules, or the setting, that made another reply of it or had the command said again; "": nobody
}

// Unhealed says that the client gets the refusal as it was said.
func (r Refusal) Unhealed() bool { return r.Healed == "" }

// A Change is where a dialogue leaves its recording.
type Change struct {
	Line int    // of the recording's dialogue, from 1 on; 0: there is none
	Why  string // for people; "": there is none
}

// Texts are messages, by the place of their event in the dialogue: as they are on the wire,
// with the line that ends them.
type Texts = map[int]string

// Play plays a recording under a policy. The recording's settings count as far as they
// are about its peers: client, begins and pipelines. texts are those of its messages, as
// far as they are known; nil: none is.
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

// upToGap are the lines before those that a recording has left out, and the rest; nil if
// it has left out none.
func upToGap(lines []transcript.Line) (before, rest []transcript.Line) {
	if at := slices.IndexFunc(lines, transcript.Line.IsLeftOut); at >= 0 {
		return lines[:at], lines[at:]
	}
	return lines, nil
}

// countSaid counts the lines that one of the sides says.
func countSaid(lines []transcript.Line) (n int) {
	for _, l := range lines {
		if l.Side != 0 && l.Mark != transcript.Added || isOfMessage(l) {
			n++
		}
	}
	return n
}

// visible fills in what a recording has left out of lines, so that it can be said again:
// as many octets of base64.
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

// standIn is n octets in place of those that were left out.
func standIn(before string, n int) string {
	const ntlm = "TlRMTVNTUAAB"                                    // the beginning of an NTLM message
	text := strings.Repeat("QUFB", n/4) + strings.Repeat("=", n%4) // "AAA"
	switch word := strings.TrimSpace(before); {
	case n == 1 && word == "":
		return "*" // the client cancels
	case n >= len(ntlm) && (strings.EqualFold(word, "XAUTH") || strings.EqualFold(word, "AUTH")):
		return ntlm + text[len(ntlm):]
	}
	return text
}

// What is filled in, in octets: of one line, and of all.
const (
	mostHidden = 12 << 10
	mostFilled = 512 << 10
)

// cutHidden takes what stands for octets that were left out off the end of a line; n is
// how many, or -1 if there are none.
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

// A game is one play whose result is wanted. It is what the dialogue tells, and what the
// player tells.
type game struct {
	player    *player
	course    *course
	recording []transcript.Line
	result    Result
	told      []transcript.Line // since the player said something
	applied   []string          // by rules, as often
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

// Event takes what the dialogue tells; the player tells some of it too.
func (g *game) Event(what string) { g.told = append(g.told, transcript.Line{Text: what}) }

func (g *game) event(string)             {}
func (g *game) passed(l transcript.Line) { g.told = append(g.told, l) }

// lost takes a failed handshake; the dialogue tells of a server that hung up.
func (g *game) lost(what string) {
	if what != serverLost {
		g.told = append(g.told, transcript.Line{Text: what})
	}
}

// refused notes a reply that is a refusal.
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

// first is the first of some lines; "" if there is none.
func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// codeOf is the code of a line of a reply, with the text behind it; 0 if it has none.
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

// fed takes what came of what one side has said.
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

// firstBy is the first line that a rule changed: as it was said, if it was.
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

// cutShort adds the rules that changed a command whose reply is not known. The dialogue
// counts them with the reply.
func (g *game) cutShort(rules []string) {
	for _, rule := range rules {
		if line := g.first[rule]; line > 0 && !slices.ContainsFunc(g.result.Rules, func(a Act) bool { return a.Rule == rule }) {
			g.result.Rules = append(g.result.Rules, Act{Rule: rule, Count: 1, Line: line})
		}
	}
}

// finish says how far the recording was played.
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

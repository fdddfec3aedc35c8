package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy/dialogues"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite"
	player "smtpshim/rewrite/play"
	"smtpshim/rewrite/transcript"
)

// An under is the rules and settings under which dialogues are played.
type under struct {
	name     string
	own      bool // those of the dialogue take precedence, if it has any
	route    bool // settings are those of a route
	rules    []string
	options  map[string]map[string]any
	settings map[string]string
}

// settingsOfPeers are the settings of a recording that are about its peers and not about
// the route.
var settingsOfPeers = []string{"client", "begins", "pipelines"}

// file returns a dialogue with the rules and settings to play it under. For dialogues of
// other programs it omits the TLS and XCLIENT of a route, because they show only one of
// its two legs.
func (u *under) file(d *dialogues.Dialogue) *transcript.File {
	f := d.File
	ofOurs := d.Source == dialogues.Transcript
	if u.own && ofOurs {
		return &f
	}
	f.Rules = u.rules
	if u.route || !ofOurs {
		f.Options = u.options
	}
	settings := map[string]string{}
	switch {
	case !ofOurs:
		maps.Copy(settings, d.Settings)
		if size, ok := u.settings["message_size"]; ok {
			settings["message_size"] = size
		}
	case !u.route: // only the rules change
		maps.Copy(settings, d.Settings)
		delete(settings, "chunking") // this setting stands for a rule
	default:
		maps.Copy(settings, u.settings)
		for _, key := range settingsOfPeers {
			if v, ok := d.Settings[key]; ok {
				settings[key] = v
			}
		}
	}
	f.Settings = settings
	return &f
}

// play plays a dialogue and returns the result and the rules.
func (u *under) play(d *dialogues.Dialogue) (r *player.Result, rules *rewrite.Rules, err error) {
	f := u.file(d)
	policy, err := player.Policy(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	return player.Play(f, policy, d.Texts), policy.Rules, nil
}

// A placed is a position in a file.
type placed struct {
	Dialogue string `json:"dialogue,omitempty"`
	Line     int    `json:"line"`                // of the dialogue
	FileLine int    `json:"file_line,omitempty"` // the line of the file, if the dialogue has lines in it
}

func placeIn(d *dialogues.Dialogue, line int) placed {
	p := placed{d.Name, line, 0}
	if line > 0 && line <= len(d.Places) {
		p.FileLine = d.Places[line-1]
	}
	return p
}

func (p placed) String() string {
	switch {
	case p.FileLine > 0:
		return fmt.Sprintf("line %d", p.FileLine)
	case p.Dialogue == "":
		return fmt.Sprintf("line %d of the dialogue", p.Line)
	}
	return fmt.Sprintf("line %d of the dialogue of %s", p.Line, p.Dialogue)
}

// A playedRule is what a rule would do with the dialogues of a file.
type playedRule struct {
	Rule      string `json:"rule"`
	Count     int    `json:"count"`
	Dialogues int    `json:"dialogues"`
	First     placed `json:"first"`
	Said      string `json:"said,omitempty"` // the first line that it changes
}

// A playedRefusal is a refusal in dialogues of a file.
type playedRefusal struct {
	Verb    string  `json:"verb"`
	Code    int     `json:"code"`
	Text    string  `json:"text,omitempty"` // in the form of a transcript
	By      string  `json:"by,omitempty"`   // the reason for which smtpshim refuses; "": the server does
	Healed  string  `json:"healed,omitempty"`
	Count   int     `json:"count"`
	First   placed  `json:"first"`
	Causes  []cause `json:"causes,omitempty"`
	inForce []string
	between bool // smtpshim stood in between
}

// A playedChange is a point after which it is not known how a dialogue goes on.
type playedChange struct {
	At  placed `json:"at"`
	Why string `json:"why"`
}

// A playedDifference is a dialogue that differs under two configurations.
type playedDifference struct {
	Dialogue string   `json:"dialogue"`
	Lines    string   `json:"lines"`           // the different lines, from transcript.Compare
	Rules    []string `json:"rules,omitempty"` // rules that act under only one of them, or more often
}

// A played is the result of playing a file.
type played struct {
	File      string   `json:"file"`
	Under     string   `json:"under"`
	Against   string   `json:"against,omitempty"`
	Sources   []string `json:"sources"`
	Dialogues int      `json:"dialogues"`
	Lines     int      `json:"lines"`  // lines that a side says
	Played    int      `json:"played"` // lines that were played
	Cut       int      `json:"cut,omitempty"`

	Rules    []playedRule    `json:"rules"`
	Unhealed []playedRefusal `json:"unhealed"`
	Healed   []playedRefusal `json:"healed"`
	Unknown  []playedChange  `json:"unknown"`
	Assumed  []playedChange  `json:"assumed"`
	Broke    []string        `json:"broke,omitempty"`

	Messages  int      `json:"messages"`
	Textless  int      `json:"textless,omitempty"`   // messages whose text is not in the file
	TextRules []string `json:"text_rules,omitempty"` // rules that need that text, so that their effect is not known

	Differences []playedDifference `json:"differences,omitempty"`

	// The number of elements omitted from the lists, which have the first of each.
	MoreRefusals    int `json:"more_refusals,omitempty"` // not healed
	MoreHealed      int `json:"more_healed,omitempty"`
	MoreUnknown     int `json:"more_unknown,omitempty"`
	MoreAssumed     int `json:"more_assumed,omitempty"`
	MoreDifferences int `json:"more_differences,omitempty"`

	with, against *under
	where         string // where to find the dialogue, for people
	each          func(*played, *dialogues.Dialogue, *player.Result)
}

// The limits for a file with very many dialogues.
const (
	maxRefusals    = 100
	maxChanges     = 20
	maxDifferences = 20
	maxCompared    = 3000 // lines of a dialogue that are compared one by one
)

func newPlayed(name string, with, against *under) *played {
	p := &played{File: name, Under: with.name, with: with, against: against, where: "with -dialogue", Sources: []string{}, Rules: []playedRule{}, Unhealed: []playedRefusal{},
		Healed: []playedRefusal{}, Unknown: []playedChange{}, Assumed: []playedChange{}}
	if against != nil {
		p.Against = against.name
	}
	return p
}

// read plays all dialogues of the file.
func (p *played) read(stdin io.Reader) error {
	in := stdin
	if p.File != "-" {
		f, err := os.Open(p.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return dialogues.Read(p.File, in, p.dialogue)
}

// dialogue plays one dialogue.
func (p *played) dialogue(d *dialogues.Dialogue) error {
	r, rules, err := p.with.play(d)
	if err != nil {
		return err
	}
	if p.Dialogues == 0 && p.with.own && d.Source != dialogues.Transcript {
		p.Under = "rules standard"
	}
	if p.Dialogues++; !slices.Contains(p.Sources, string(d.Source)) {
		p.Sources = append(p.Sources, string(d.Source))
	}
	if p.Lines += r.Said; d.Cut {
		p.Cut++
	}
	p.Played += r.Played
	p.rules(d, r)
	for _, refusal := range r.Refusals {
		p.refusal(d, refusal, rules.Names())
	}
	p.messages(d, rules)
	if r.Unknown.Why != "" {
		p.Unknown, p.MoreUnknown = withChange(p.Unknown, p.MoreUnknown, d, r.Unknown)
	}
	if r.Assumed.Why != "" {
		p.Assumed, p.MoreAssumed = withChange(p.Assumed, p.MoreAssumed, d, r.Assumed)
	}
	for _, why := range r.Broke {
		if len(p.Broke) < maxChanges && !slices.Contains(p.Broke, why) {
			p.Broke = append(p.Broke, why)
		}
	}
	if p.each != nil {
		p.each(p, d, r)
	}
	if p.against == nil {
		return nil
	}
	other, _, err := p.against.play(d)
	if err == nil {
		p.compare(d, r, other)
	}
	return err
}

// messages counts messages, and those without text that rules would need.
func (p *played) messages(d *dialogues.Dialogue, rules *rewrite.Rules) {
	for i, l := range d.Dialogue {
		if !l.IsMessage() {
			continue
		}
		p.Messages++
		if _, ok := d.Texts[i]; ok {
			continue
		}
		p.Textless++
		for _, name := range rules.OfMessages() {
			if !slices.Contains(p.TextRules, name) {
				p.TextRules = append(p.TextRules, name)
			}
		}
	}
}

// withChange adds a change to a list, or counts it if the list is full.
func withChange(list []playedChange, more int, d *dialogues.Dialogue, c player.Change) ([]playedChange, int) {
	if len(list) == maxChanges {
		return list, more + 1
	}
	return append(list, playedChange{placeIn(d, c.Line), c.Why}), more
}

func (p *played) rules(d *dialogues.Dialogue, r *player.Result) {
	for _, a := range r.Rules {
		at := slices.IndexFunc(p.Rules, func(o playedRule) bool { return o.Rule == a.Rule })
		if at < 0 {
			at = len(p.Rules)
			first := playedRule{Rule: a.Rule, First: placeIn(d, a.Line)}
			if a.Said.Side != 0 {
				first.Said = a.Said.String()
			}
			p.Rules = append(p.Rules, first)
		}
		p.Rules[at].Count += a.Count
		p.Rules[at].Dialogues++
	}
}

func (p *played) refusal(d *dialogues.Dialogue, r player.Refusal, inForce []string) {
	list, more := &p.Healed, &p.MoreHealed
	if r.Unhealed() {
		list, more = &p.Unhealed, &p.MoreRefusals
	}
	text := journal.Printable(r.Text)
	at := slices.IndexFunc(*list, func(o playedRefusal) bool {
		return o.Verb == r.Verb && o.Code == r.Code && o.Text == text && o.By == r.By && o.Healed == r.Healed
	})
	if at < 0 {
		if len(*list) == maxRefusals {
			*more++
			return
		}
		at = len(*list)
		*list = append(*list, playedRefusal{Verb: r.Verb, Code: r.Code, Text: text, By: r.By, Healed: r.Healed, First: placeIn(d, r.Line), inForce: inForce, between: d.Source == dialogues.Transcript})
	}
	(*list)[at].Count++
}

// explain adds what is known about the refusals that are not healed.
func (p *played) explain(e *explainer) {
	for i := range p.Unhealed {
		r := &p.Unhealed[i]
		if r.By != "" {
			continue
		}
		for _, c := range e.causesOf(fmt.Sprintf("%d %s", r.Code, r.Text)) {
			if c.Guess || len(r.Causes) == maxGuesses {
				break
			}
			if r.between {
				c.Do = adviceBetween(c)
			}
			if slices.Contains(r.inForce, c.Rule) {
				c.Do = fmt.Sprintf("the rule %s is in force, and did not see there what it acts on: look at the dialogue, %s", c.Rule, p.where)
			}
			r.Causes = append(r.Causes, c)
		}
	}
}

// compare records how a dialogue differs under the two configurations.
func (p *played) compare(d *dialogues.Dialogue, a, b *player.Result) {
	lines := "the dialogues differ, and are too long to be shown"
	here, there := withoutRemarks(a.Lines), withoutRemarks(b.Lines)
	if len(here) <= maxCompared && len(there) <= maxCompared {
		lines = transcript.Compare(there, here)
	} else if slices.EqualFunc(here, there, func(x, y transcript.Line) bool { return x.String() == y.String() }) {
		lines = ""
	}
	rules := rulesApart(a.Rules, b.Rules)
	if lines == "" && rules == nil {
		return
	}
	if len(p.Differences) == maxDifferences {
		p.MoreDifferences++
		return
	}
	p.Differences = append(p.Differences, playedDifference{d.Name, lines, rules})
}

// withoutRemarks removes events that only say what smtpshim has recognised or which rule
// has acted, such as "exchange-5.0 by its greeting".
func withoutRemarks(lines []transcript.Line) []transcript.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l transcript.Line) bool { return l.Side == 0 && strings.Contains(l.Text, " by ") })
}

// rulesApart returns the rules that act in only one of two results, or more often.
func rulesApart(a, b []player.Act) (names []string) {
	counts := map[string]int{}
	for _, act := range a {
		counts[act.Rule] += act.Count
	}
	for _, act := range b {
		counts[act.Rule] -= act.Count
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (p *played) differs() bool { return len(p.Differences) > 0 }

// hintOf returns what to add to an error about rules.
func hintOf(err error) string {
	if e, ok := errors.AsType[*rewrite.ConfigError](err); ok {
		return config.HintRule(e.Rule)
	}
	return ""
}

package heal

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite"
)

// ReplacePrefix begins the name of each rule that [[route.replace]] defines. No rule of
// the Table has this prefix.
const ReplacePrefix = "replace-"

// replacements returns the rules that the configuration defines: one for each name with
// ReplacePrefix. Their options are ReplaceOptions.
func replacements(names []string) (rules []rewrite.Rule) {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "-"); !strings.HasPrefix(name, ReplacePrefix) {
			continue
		}
		if !slices.ContainsFunc(rules, func(r rewrite.Rule) bool { return r.Name == name }) {
			rules = append(rules, replace(name))
		}
	}
	return rules
}

// ReplaceOptions returns the options that a rule of [[route.replace]] has besides
// rewrite.ScopeOptions.
func ReplaceOptions() []rewrite.Option {
	return []rewrite.Option{
		{Name: "on", Default: "", Values: []string{"command", "reply"}, Doc: "what is looked at: the client's command, or each line of the server's reply"},
		{Name: "verbs", Default: []string{}, Doc: "the commands, or those that are answered; \"greeting\", \"end-of-data\", and \"other\" for any that the proxy does not know"},
		{Name: "match", Default: "", Doc: "a regular expression (RE2) for the line; that of a reply is its code, a blank and its text"},
		{Name: "with", Default: sameText, Doc: "what takes the place of each match, with $1 for what is in its first brackets; $0 is the match itself"},
		{Name: "code", Default: int64(0), Most: 599, Doc: "of a reply: its code instead; of a command: the code with which it is refused, and with is the text; 0: none"},
	}
}

// sameText is the replacement that changes nothing.
const sameText = "$0"

// replace returns a rule of [[route.replace]], for a fault that no other rule heals. It
// is nearest to the server: it runs after all other rules on commands, and before them on
// replies.
func replace(name string) rewrite.Rule {
	return rewrite.Rule{
		Name:  name,
		Heals: "what [[route.replace]] of the configuration says",
		Doc: "A regular expression on commands or replies, with the checks that every rule has. " +
			"No AUTH command, and no line of its exchange, is looked at.",
		Source:  "the configuration",
		Options: ReplaceOptions(),
		Setup:   setUpReplacement,
	}
}

// setUpReplacement reads the options. It refuses those with which the rule could never
// act, and those whose result the engine would undo.
func setUpReplacement(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
	r := &replacement{on: o.Text("on"), with: o.Text("with"), code: int(o.Number("code"))}
	for _, check := range []struct {
		option string
		read   func(rewrite.Options) error
	}{
		{"on", r.readOn}, {"match", r.readMatch}, {"verbs", r.readVerbs}, {"with", r.readWith}, {"code", r.readCode},
	} {
		if err := check.read(o); err != nil {
			return rewrite.Actions{}, &rewrite.ConfigError{Option: check.option, Err: err}
		}
	}
	if r.on == "command" {
		return rewrite.Actions{Commands: r.verbs, Command: r.command}, nil
	}
	return rewrite.Actions{Replies: r.verbs, Reply: r.reply}, nil
}

// A replacement is one table of [[route.replace]].
type replacement struct {
	on    string
	verbs rewrite.VerbSet
	match *regexp.Regexp
	with  string
	code  int // 0: the code stays
}

func (r *replacement) readOn(rewrite.Options) error {
	if r.on == "" {
		return errors.New(`it is missing; write on = "command" or on = "reply"`)
	}
	return nil
}

func (r *replacement) readMatch(o rewrite.Options) error {
	text := o.Text("match")
	if text == "" {
		return errors.New(`it is missing; write for example match = "^NOOP .*"`)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return fmt.Errorf("%q is not a regular expression (RE2): %w", text, err)
	}
	r.match = re
	return nil
}

// neverCarried is the set of verbs that no rule sees: see the documentation of package
// rewrite.
var neverCarried = rewrite.SetOf(rewrite.VerbTURN, rewrite.VerbATRN, rewrite.VerbXCLIENT, rewrite.VerbXFORWARD, rewrite.VerbPROXY,
	rewrite.VerbXEXCH50, rewrite.VerbXLINK2STATE)

func (r *replacement) readVerbs(o rewrite.Options) error {
	if len(o.List("verbs")) == 0 {
		return errors.New(`no verb is named, so that the rule would never act; write for example verbs = ["NOOP"]`)
	}
	for _, name := range o.List("verbs") {
		v, ok := verbNamed(name)
		switch onCommand := r.on == "command"; {
		case !ok:
			return fmt.Errorf(`%q is no verb that the proxy knows; write "other" for one that it does not, and the verb in match`, name)
		case neverCarried.Has(v):
			return fmt.Errorf("%q never reaches a rule: the proxy does not carry it", name)
		case onCommand && (v == rewrite.VerbGreeting || v == rewrite.VerbMessage):
			return fmt.Errorf(`%q is no command; only on = "reply" can have it`, name)
		case onCommand && logins.Has(v):
			return fmt.Errorf("%q has a password in it, and is never looked at", name)
		case onCommand && v == rewrite.VerbBDAT && r.code == 0:
			return fmt.Errorf("%q passes as it is, since octets follow it; it can be refused with code, and not changed", name)
		}
		r.verbs |= rewrite.SetOf(v)
	}
	return nil
}

// verbNamed returns the verb with this name, as logs write it, ignoring case.
func verbNamed(name string) (v rewrite.Verb, ok bool) {
	for v := range rewrite.Verb(len(rewrite.VerbNames())) {
		if strings.EqualFold(v.String(), name) {
			return v, true
		}
	}
	return 0, false
}

// groupIn matches what Regexp.Expand takes for a group: $1, ${1}, $name, ${name} and $$.
var groupIn = regexp.MustCompile(`\$(\$|\w+|\{\w+\})`)

// beginsWithCode matches a text that begins with a code.
var beginsWithCode = regexp.MustCompile(`^([2-5][0-9]{2})(?:[ -]|$)`)

func (r *replacement) readWith(rewrite.Options) error {
	if strings.ContainsAny(r.with, "\r\n\x00") {
		return fmt.Errorf("%q has a CR, LF or NUL in it, and a line has none", r.with)
	}
	for _, found := range groupIn.FindAllStringSubmatch(r.with, -1) {
		name := strings.Trim(found[1], "{}")
		if n, err := strconv.Atoi(name); err == nil && n <= r.match.NumSubexp() || name == "$" || r.match.SubexpIndex(name) >= 0 {
			continue
		}
		return fmt.Errorf("%q has %s in it, and %q has no such brackets; write ${1}x for $1 before a letter, and $$ for a dollar sign", r.with, found[0], r.match)
	}
	code := beginsWithCode.FindStringSubmatch(r.with)
	switch {
	case r.on == "reply" && code != nil && !strings.HasPrefix(r.match.String(), "^"+code[1]):
		return fmt.Errorf("%q begins with a code, which would be taken for text; write the text alone, and code = %s", r.with, code[1])
	case r.with != sameText:
	case r.code == 0:
		return errors.New("it is missing, and so is code: the rule would change nothing")
	case r.on == "command":
		return errors.New(`it is missing: the text of the reply that refuses the command, as in with = "5.5.1 not here"`)
	}
	return nil
}

// matchesCode matches a regular expression that begins with a first digit of codes.
var matchesCode = regexp.MustCompile(`^\^([2-5])[^|]*$`)

func (r *replacement) readCode(rewrite.Options) error {
	switch c := r.code; {
	case c == 0 || c >= 400:
	case r.on == "command":
		return fmt.Errorf("%d is no code of a refusal, 400 to 599; only the server accepts a command", c)
	case c < 200 || c >= 300:
		return fmt.Errorf("%d is no code that a reply can get: that is 200 to 299 for a positive reply, and 400 to 599 for a refusal", c)
	case r.verbs.Has(rewrite.VerbGreeting) && c != 220:
		return fmt.Errorf("%d is no code of a positive greeting, which is 220", c)
	case r.verbs.Has(rewrite.VerbSTARTTLS):
		return fmt.Errorf("%d would accept STARTTLS, whose code stays", c)
	}
	if found := matchesCode.FindStringSubmatch(r.match.String()); r.on == "reply" && r.code != 0 && found != nil {
		if refusal := found[1] >= "4"; refusal != (r.code >= 400) {
			return fmt.Errorf("%q matches replies of %sxx, and none of them can get %d: a refusal stays one, and so does a positive reply", r.match, found[1], r.code)
		}
	}
	return nil
}

func (r *replacement) command(t *rewrite.Turn) {
	line := t.Line()
	if !r.match.Match(line) {
		return
	}
	if r.code == 0 {
		t.SetLine(string(r.match.ReplaceAll(line, []byte(r.with))))
		return
	}
	text := r.match.Expand(nil, []byte(r.with), line, r.match.FindSubmatchIndex(line))
	t.Answer(rewrite.Reply{Code: r.code, Lines: []string{string(text)}})
}

// reply changes the matching lines of a reply, and its code. A yes stays a yes and a
// refusal a refusal. It ignores challenges. A line that becomes empty is removed, unless
// no other line is left.
func (r *replacement) reply(t *rewrite.Turn) {
	reply := t.Reply()
	if t.Lost() || reply.Code == 334 || r.code != 0 && (reply.Code/100 == 3 || (reply.Code >= 400) != (r.code >= 400)) {
		return
	}
	var lines []string
	matches, code := false, strconv.Itoa(reply.Code)+" "
	for _, text := range reply.Lines {
		if line := code + text; r.match.MatchString(line) {
			matches = true
			if text = strings.TrimPrefix(r.match.ReplaceAllString(line, r.with), code); text == "" {
				continue
			}
		}
		lines = append(lines, text)
	}
	if !matches {
		return
	}
	if lines == nil {
		lines = []string{""}
	}
	if reply.Lines = lines; r.code != 0 {
		reply.Code = r.code
	}
}

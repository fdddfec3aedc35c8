// Package transcript has the notation for a dialogue that a proxy listens to:
// the RFCs' own C: and S:, with a diff in the margin.
//
//	C: S:   said, and passed on as it was
//	C- S-   said, and not delivered
//	C+ S+   delivered, and not said by the other side
//	~       something that is not a line, such as a TLS handshake
//
// A file begins with prose: a title, where each line is attested, or that it is
// assumed. Sections follow, each at most once, all but the last optional:
//
//	An invented server that greets without the word ESMTP. All lines assumed.
//	-- rules --
//	standard
//	-fix-hello-name
//	-- options --
//	advertise-esmtp.style = "word"
//	-- setting --
//	client = "192.0.2.7"
//	-- dialogue --
//	S- 220 mail.example.com ready
//	S+ 220 mail.example.com ESMTP ready
//
// The package only reads and writes the notation. What a rule, an option, a
// setting or an event means is known to whoever plays the file.
package transcript

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Side is who said a line, or should have: 'C', 'S', or 0 for what is not a
// line.
type Side byte

// The two sides.
const (
	Client Side = 'C'
	Server Side = 'S'
)

// A Mark is what became of a line.
type Mark byte

// The marks in the margin.
const (
	Unchanged Mark = ':' // said, and passed on as it was
	Removed   Mark = '-' // said, and not delivered
	Added     Mark = '+' // delivered, and not said
)

// A Line is one line of a dialogue. Without a Side it is an event, and without
// a Text too it is the empty line that sets parts of a dialogue apart.
type Line struct {
	Side Side
	Mark Mark   // 0 for an event
	Text string // without CRLF, otherwise any octets
	Rule string // which rule changed it, for Print; never in a file
}

// String gives the line as a file has it. It is printable ASCII whatever the
// Text: one with other octets, with a blank at its end, with a quotation mark
// at its beginning, or without any is quoted as Go does.
func (l Line) String() string {
	switch {
	case l.Side != 0:
		return string([]byte{byte(l.Side), byte(l.Mark), ' '}) + quoteUnlessPlain(l.Text)
	case l.Text == "":
		return ""
	}
	return "~ " + quoteUnlessPlain(l.Text)
}

func quoteUnlessPlain(text string) string {
	if isPlain(text) {
		return text
	}
	return strconv.QuoteToASCII(text)
}

// isPlain says that a text can be written as it is and be read again.
func isPlain(text string) bool {
	return text != "" && text[0] != '"' && text[len(text)-1] != ' ' && isPrintable(text)
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// LeftOut is the event that stands for lines that a long dialogue had, and that were not
// kept.
func LeftOut(lines int) Line { return Line{Text: strconv.Itoa(lines) + leftOut} }

const leftOut = " lines left out"

// IsLeftOut reports whether the line is such an event.
func (l Line) IsLeftOut() bool {
	number, ok := strings.CutSuffix(l.Text, leftOut)
	_, err := strconv.ParseUint(number, 10, 63)
	return ok && l.Side == 0 && err == nil
}

// IsMessage reports whether the line is the event that stands for a message.
func (l Line) IsMessage() bool {
	return l.Side == 0 && strings.HasPrefix(l.Text, "message ") && strings.HasSuffix(l.Text, " bytes")
}

// A File is a dialogue and what it takes to play it.
type File struct {
	About string // the prose, with LF between its lines and no empty ones around

	// Rules are names of rules and sets, "-name" takes one away.
	Rules []string

	// Options are by rule and by option. A value is a string, a bool, an int64,
	// a []string or a map[string]string.
	Options map[string]map[string]any

	Settings map[string]string
	Dialogue []Line
}

// The sections, in the order in which they are written.
const (
	rulesSection    = "rules"
	optionsSection  = "options"
	settingSection  = "setting"
	dialogueSection = "dialogue"
)

func heading(section string) string { return "-- " + section + " --" }

// Format gives the file in its canonical form: sections in order and without
// empty lines, options and settings sorted. Parse makes the same File of it
// again if Parse could have made this one; it panics at an option of any other
// type.
func (f *File) Format() []byte {
	var b strings.Builder
	if f.About != "" {
		fmt.Fprintln(&b, f.About)
	}
	if len(f.Rules) > 0 {
		fmt.Fprintln(&b, heading(rulesSection))
		for _, name := range f.Rules {
			fmt.Fprintln(&b, name)
		}
	}
	if len(f.Options) > 0 {
		fmt.Fprintln(&b, heading(optionsSection))
		for _, rule := range slices.Sorted(maps.Keys(f.Options)) {
			for _, option := range slices.Sorted(maps.Keys(f.Options[rule])) {
				fmt.Fprintf(&b, "%s.%s = %s\n", rule, option, formatValue(f.Options[rule][option]))
			}
		}
	}
	if len(f.Settings) > 0 {
		fmt.Fprintln(&b, heading(settingSection))
		for _, key := range slices.Sorted(maps.Keys(f.Settings)) {
			fmt.Fprintf(&b, "%s = %s\n", key, strconv.QuoteToASCII(f.Settings[key]))
		}
	}
	fmt.Fprintln(&b, heading(dialogueSection))
	for _, l := range f.Dialogue {
		fmt.Fprintln(&b, l)
	}
	return []byte(b.String())
}

func formatValue(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.QuoteToASCII(v)
	case bool, int64:
		return fmt.Sprint(v)
	case []string:
		var texts []string
		for _, text := range v {
			texts = append(texts, strconv.QuoteToASCII(text))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]string:
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, strconv.QuoteToASCII(key)+" = "+strconv.QuoteToASCII(v[key]))
		}
		if pairs == nil {
			return "{}"
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	}
	panic(fmt.Sprintf("transcript: an option of type %T; it can be a string, bool, int64, []string or map[string]string", v))
}

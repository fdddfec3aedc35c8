// Package transcript defines a notation for a dialogue that passes a proxy: the C: and S:
// of the RFCs, with the marks of a diff.
//
//	C: S:   said, and passed on as it was
//	C- S-   said, and not delivered
//	C+ S+   delivered, and not said by the other side
//	~       something that is not a line, such as a TLS handshake
//
// A file begins with prose: a title, and for each line of the dialogue its source, or
// that the line is assumed. Sections follow, each at most once. All but the last are
// optional:
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
// The package only parses and formats the notation. The meaning of rules, options,
// settings and events is up to its callers.
package transcript

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Side is the side from which a line comes: 'C', the client; 'S', the server; or 0
// for an event. An Added line has the side of the peer in whose place it is said.
type Side byte

// The two sides.
const (
	Client Side = 'C'
	Server Side = 'S'
)

// A Mark says what became of a line.
type Mark byte

// The marks in the margin.
const (
	Unchanged Mark = ':' // said, and passed on as it was
	Removed   Mark = '-' // said, and not delivered
	Added     Mark = '+' // delivered, and not said
)

// A Line is one line of a dialogue. If Side is 0, it is an event. If Text is empty as
// well, it is the empty line that separates parts of a dialogue.
type Line struct {
	Side Side
	Mark Mark   // 0 for an event
	Text string // any octets, without CRLF
	// Rule names the rules, safeguards and causes (package vocabulary) that changed the
	// line, separated by commas. Format does not write it, and Parse does not set it.
	Rule string
}

// String returns l as it is written to a file, in printable ASCII. An empty line between
// parts, which has no Side and no Text, is "". In any other line, String quotes Text as Go
// does if Text is empty, has octets beyond printable ASCII, ends with a blank or begins
// with a quotation mark.
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

// isPlain reports whether a text can be written unquoted and parsed again.
func isPlain(text string) bool {
	return text != "" && text[0] != '"' && text[len(text)-1] != ' ' && isPrintable(text)
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// LeftOut returns the event that stands for lines that are left out of a long dialogue.
// The parameter lines is their number.
func LeftOut(lines int) Line { return Line{Text: strconv.Itoa(lines) + leftOut} }

const leftOut = " lines left out"

// IsLeftOut reports whether l is an event that LeftOut has returned for some number.
func (l Line) IsLeftOut() bool {
	number, ok := strings.CutSuffix(l.Text, leftOut)
	_, err := strconv.ParseUint(number, 10, 63)
	return ok && l.Side == 0 && err == nil
}

// IsMessage reports whether l is the event that takes the place of the text of a
// message, such as "message 1234 bytes".
func (l Line) IsMessage() bool {
	return l.Side == 0 && strings.HasPrefix(l.Text, "message ") && strings.HasSuffix(l.Text, " bytes")
}

// A File is a dialogue and what is needed to play it.
type File struct {
	About string // the prose, with LF between its lines, without empty lines around it

	// Rules are names of rules and sets; "-name" removes one.
	Rules []string

	// Options has the values of options, by the names of the rule and of the option. A
	// value is a string, a bool, an int64, a []string or a map[string]string.
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

// Format returns the text of f in canonical form: sections in a fixed order, options
// and settings sorted, and empty lines only in the prose and in the dialogue. If f is a
// result of Parse, Parse of the returned text gives a File equal to f. Format panics if
// an option has a type that Parse does not return.
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

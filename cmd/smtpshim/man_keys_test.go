package main

import (
	"fmt"
	"regexp"
	"strings"
)

// keysMdoc makes mdoc of the example of a configuration: a section for each
// table, and in it a list of keys with what stands over them.
func keysMdoc(example string) string {
	_, example, _ = strings.Cut(example, "\n\n") // what the file is: the page says so itself
	var page strings.Builder
	var keys, remarks []string
	inList := false
	endKeys := func() {
		if keys == nil {
			return
		}
		if !inList {
			page.WriteString(".Bl -tag -width Ds\n")
			inList = true
		}
		fmt.Fprintf(&page, ".It Li \"%s\"\n%s", strings.Join(keys, ", "), remarksMdoc(remarks))
		keys, remarks = nil, nil
	}
	beginSection := func(title string) {
		endKeys()
		if inList {
			page.WriteString(".El\n")
			inList = false
		}
		fmt.Fprintf(&page, ".Ss %s\\&\n%s", title, remarksMdoc(remarks))
		remarks = nil
	}
	beginSection("Before the first table")
	for line := range strings.Lines(example) {
		line = strings.TrimSuffix(line, "\n")
		text, isComment := strings.CutPrefix(line, "#")
		switch {
		case line == "":
			endKeys()
			if remarks != nil {
				remarks = append(remarks, "") // they are about what follows
			}
		case line[0] == '[':
			beginSection(line)
		case isComment && (text == "" || text[0] == ' '):
			endKeys()
			remarks = append(remarks, strings.TrimPrefix(text, " "))
		default:
			keys = append(keys, literalMdoc.Replace(text))
			if !isComment {
				keys[len(keys)-1] = literalMdoc.Replace(line)
			}
		}
	}
	endKeys()
	page.WriteString(".El\n")
	return page.String()
}

// oneOfWords is a word of several that a key may be, and what it means.
var oneOfWords = regexp.MustCompile(`^ *([a-z]+(?:-[a-z]+)*) {2,}(\S.*)$`)

// keyShown is a key with its value, or a table, that a comment shows.
var keyShown = regexp.MustCompile(`^ +([a-z_]+ = |\[\[)`)

// remarksMdoc makes mdoc of comments: prose, explained words, and what is indented
// otherwise stays as it is.
func remarksMdoc(lines []string) string {
	const prose, words, verbatim = "", ".Bl -tag -width opportunistic -compact\n", ".Bd -unfilled -offset indent\n"
	end := map[string]string{prose: "", words: ".El\n", verbatim: ".Ed\n"}
	var out, text strings.Builder // text is prose that goes on
	kind := prose
	endText := func() {
		out.WriteString(proseMdoc(text.String()))
		text.Reset()
	}
	for i, line := range lines {
		word := oneOfWords.FindStringSubmatch(line)
		was := kind
		switch {
		case word != nil:
			kind = words
		case !strings.HasPrefix(line, " "):
			kind = prose
		case kind == prose, keyShown.MatchString(line):
			kind = verbatim
		}
		if kind != was {
			endText()
			out.WriteString(end[was])
			if kind != verbatim && out.Len() > 0 {
				out.WriteString(".Pp\n")
			}
			out.WriteString(kind)
		}
		switch {
		case word != nil:
			endText()
			fmt.Fprintf(&out, ".It Li %s\n", literalMdoc.Replace(word[1]))
			text.WriteString(word[2])
		case kind == verbatim:
			out.WriteString(literalMdoc.Replace(strings.TrimSpace(line)) + "\n")
		case line == "" && i < len(lines)-1:
			endText()
			out.WriteString(".Pp\n")
		default:
			text.WriteString("\n" + line)
		}
	}
	endText()
	return out.String() + end[kind]
}

// literalMdoc writes what has to come out octet for octet, in arguments of macros
// too.
var literalMdoc = strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// sentenceEnd is where mdoc wants a new line.
var sentenceEnd = regexp.MustCompile(`([.?!]["):]*) (\\%|[A-Z"\[])`)

// name is a word of the computer's, which is not to be hyphenated.
var name = regexp.MustCompile(`(^| )(\S*(?:\w[-_./=:]\w|[A-Z]{5})\S*)`)

// proseMdoc makes mdoc of prose, a line for each sentence.
func proseMdoc(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return ""
	}
	text = strings.ReplaceAll(text, `\`, `\e`)
	text = name.ReplaceAllString(text, `$1\%$2`)
	text = sentenceEnd.ReplaceAllString(text, "$1\n$2")
	var out strings.Builder
	for sentence := range strings.SplitSeq(text, "\n") {
		for _, line := range wrap(sentence, 79) {
			if strings.ContainsAny(line[:1], ".'") {
				line = `\&` + line
			}
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

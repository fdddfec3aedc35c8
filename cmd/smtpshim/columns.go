package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// columns is the usual width of a terminal.
const columns = 80

// entry prints a name at indent, and text in the columns from start on, over as many
// lines as needed. A name that reaches into these columns gets a line of its own.
func entry(w io.Writer, indent int, name string, start int, text string) {
	head := strings.Repeat(" ", indent) + name
	if utf8.RuneCountInString(head)+2 > start && name != "" {
		fmt.Fprintln(w, head)
		head = ""
	}
	for _, line := range wrap(text, columns-1-start) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s%s", start, head, line), " "))
		head = ""
	}
}

// wrap breaks text at blanks into lines of at most width runes, or of one longer word. It
// returns at least one line.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

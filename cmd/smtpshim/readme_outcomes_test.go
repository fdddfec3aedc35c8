package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"smtpshim/rewrite/vocabulary"
)

// TestTheReadmeExplainsEveryOutcome reads the first column of its table.
func TestTheReadmeExplainsEveryOutcome(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| outcome | |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	explained := map[string]bool{}
	for row := range strings.Lines(table) {
		column, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(column, -1) {
			explained[name[1]] = true
		}
	}
	for _, o := range vocabulary.Outcomes() {
		if !explained[string(o)] {
			t.Errorf("the table has no %s", o)
		}
		delete(explained, string(o))
	}
	if len(explained) > 0 {
		t.Errorf("the table has %v, which are no outcomes", explained)
	}
}

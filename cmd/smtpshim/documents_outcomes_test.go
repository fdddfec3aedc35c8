package main

import (
	"regexp"
	"strings"
	"testing"

	"smtpshim/rewrite/vocabulary"
)

// TestTheDocumentsExplainEveryOutcome reads the first column of a table.
func TestTheDocumentsExplainEveryOutcome(t *testing.T) {
	_, table, _ := strings.Cut(read(t, top+"/deploy/doc/observe.md"), "| outcome | |\n|---|---|\n")
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

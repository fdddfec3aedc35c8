package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/tlspolicy"
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

// TestTheDocumentsExplainEveryAttributeOfASessionsLine reads where the line is made.
func TestTheDocumentsExplainEveryAttributeOfASessionsLine(t *testing.T) {
	_, source, _ := strings.Cut(read(t, top+"/proxy/report.go"), "\nfunc (s *session) logEnd() {\n")
	source, _, _ = strings.Cut(source, "\n}\n")
	_, table, _ := strings.Cut(read(t, top+"/deploy/doc/observe.md"), "| attribute | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	attributes := regexp.MustCompile(`slog\.\w+\("([a-z_]+)"`).FindAllStringSubmatch(source, -1)
	if len(attributes) < 15 {
		t.Errorf("%d attributes found, want at least 15", len(attributes))
	}
	for _, a := range attributes {
		if !strings.Contains(table, "`"+a[1]+"`") {
			t.Errorf("the table does not have %s", a[1])
		}
	}
}

// TestTheDocumentsHaveEveryNameOfWeak reads the first column of a table.
func TestTheDocumentsHaveEveryNameOfWeak(t *testing.T) {
	_, table, _ := strings.Cut(read(t, top+"/deploy/doc/tls.md"), "| name | allows | for |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want, got []string
	for _, w := range tlspolicy.AllWeaknesses().List() {
		want = append(want, w.String())
	}
	for row := range strings.Lines(table) {
		got = append(got, strings.Trim(strings.Split(row, "|")[1], " `"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table has %q,\nwant %q", got, want)
	}
}

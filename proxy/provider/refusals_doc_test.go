package provider

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of refusals into the documentation")

func TestTheDocumentationSaysWhatRefusalsMean(t *testing.T) {
	const file = "../../deploy/doc/login.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- refusals -->\n")
	table, after, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", file)
	}
	var want strings.Builder
	want.WriteString("| reply | means | what to do |\n|---|---|---|\n")
	for _, r := range slices.Concat(refusals, general) {
		fmt.Fprintf(&want, "| %d ... %s | %s | %s |\n", r.code, r.text, r.Means, r.Do)
	}
	switch {
	case table == want.String():
	case *update:
		if err := os.WriteFile(file, []byte(before+"<!-- refusals -->\n"+want.String()+"<!-- end -->"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is older than the table of refusals; -update writes it", file)
	}
}

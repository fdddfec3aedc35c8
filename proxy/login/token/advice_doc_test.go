package token

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of Microsoft's numbers into the documentation")

func TestTheDocumentationSaysWhatToDoAboutEachNumber(t *testing.T) {
	const file = "../../../deploy/doc/login.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- numbers -->\n")
	table, after, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", file)
	}
	var want strings.Builder
	want.WriteString("| number | what to do |\n|---|---|\n")
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		fmt.Fprintf(&want, "| AADSTS%s | %s |\n", number, strings.ReplaceAll(byNumber[number], "%s", "NAME"))
	}
	switch {
	case table == want.String():
	case *update:
		if err := os.WriteFile(file, []byte(before+"<!-- numbers -->\n"+want.String()+"<!-- end -->"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is older than the table of numbers; -update writes it", file)
	}
}

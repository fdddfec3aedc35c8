package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"
)

// top is the folder that the documents' paths are relative to.
const top = "../.."

// documents are the texts for people, by path from top.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "deploy/doc/*.md", "deploy/recipes/*.md", "deploy/zoo/*.md", "proxy/*.md", "rewrite/*.md"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			name, err := filepath.Rel(top, file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.ToSlash(name)] = read(t, file)
		}
	}
	return all
}

// inOrder are the paths of documents, sorted.
func inOrder(all map[string]string) []string { return slices.Sorted(maps.Keys(all)) }

func TestTheReadmeIsShort(t *testing.T) {
	if n := len(read(t, top+"/README.md")); n >= 10_000 {
		t.Errorf("README.md has %d octets, want fewer than 10,000: deploy/doc has room", n)
	}
}

func TestTheReadmeLeadsToEveryDocument(t *testing.T) {
	readme := read(t, top+"/README.md")
	for _, name := range inOrder(documents(t)) {
		if !strings.HasPrefix(name, "deploy/doc/") && !strings.HasPrefix(name, "deploy/recipes/") {
			continue
		}
		if !strings.Contains(readme, "("+name+")") {
			t.Errorf("README.md does not lead to %s", name)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?s)`[^`]*`")
	notSlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what a link into a text may name behind "#", as GitHub makes them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range title.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}

func TestEveryLinkInTheDocumentsResolves(t *testing.T) {
	all, checked := documents(t), 0
	for _, name := range inOrder(all) {
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(all[name], ""), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			checked++
			target, anchor, _ := strings.Cut(found[1], "#")
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(top, to)); err != nil {
				t.Errorf("%s has a link to %s: %v", name, found[1], err)
				continue
			}
			if anchor != "" && !anchors(all[to])[anchor] {
				t.Errorf("%s has a link to %s; %s has no such heading", name, found[1], to)
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d links found, want at least 100", checked)
	}
}

// What messages and comments say of documents is there too.
func TestDocumentsThatTheSourceNamesAreThere(t *testing.T) {
	all := documents(t)
	named := regexp.MustCompile(`\b(?:deploy|rewrite|proxy)/(?:[a-z]+/)*[A-Za-z0-9.-]+\.md(?:, [A-Z][A-Za-z ,']+[a-z])?`)
	checked := 0
	for _, folder := range []string{"cmd", "metrics", "proxy", "rewrite"} {
		err := filepath.WalkDir(filepath.Join(top, folder), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			for _, mention := range named.FindAllString(read(t, file), -1) {
				checked++
				name, section, _ := strings.Cut(mention, ", ")
				if all[name] == "" {
					t.Errorf("%s names %s, which is not there", file, name)
				}
				if section != "" && !strings.Contains(all[name], "\n## "+section+"\n") {
					t.Errorf("%s names %q of %s, which has no such section", file, section, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 4 {
		t.Errorf("%d mentions found, want at least 4", checked)
	}
}

// tables are what documents have between marks that name the command which prints it.
var tables = []struct{ file, command string }{
	{"deploy/doc/rules.md", "rules -markdown"},
	{"rewrite/README.md", "rules -coverage -markdown"},
}

func TestTheDocumentsHaveTheTablesAsTheProgramPrintsThem(t *testing.T) {
	for _, table := range tables {
		var out, errs bytes.Buffer
		if status := run(strings.Fields(table.command), &out, &errs); status != succeeded {
			t.Fatalf("%s: exit status %d: %s", table.command, status, &errs)
		}
		betweenMarks(t, filepath.Join(top, table.file), "<!-- begin: smtpshim "+table.command+" -->\n", "<!-- end -->", out.String())
	}
}

// betweenMarks compares what a file has between two marks, or writes it with -update.
func betweenMarks(t *testing.T, file, begin, end, want string) {
	t.Helper()
	text := read(t, file)
	before, rest, ok := strings.Cut(text, begin)
	got, after, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Errorf("%s does not have the marks %q and %q", file, begin, end)
	case got == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: go test ./cmd/smtpshim -run TheDocumentsHave -update writes it anew:\n%s", file, udiff.Unified("is", "is to be", got, want))
	}
}

func TestTheTestsThatThePromisesNameExist(t *testing.T) {
	_, promises, _ := strings.Cut(read(t, top+"/proxy/README.md"), "\n## What it promises\n")
	promises, _, _ = strings.Cut(promises, "\n## ")
	var sources strings.Builder
	for _, folder := range []string{"cmd/smtpshim", "cmd/smtpshim/internal/config", "metrics", "proxy", "rewrite"} {
		files, err := filepath.Glob(filepath.Join(top, folder, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", folder, err)
		}
		for _, file := range files {
			sources.WriteString(read(t, file))
		}
	}
	for n := 1; n <= 8; n++ {
		_, row, ok := strings.Cut(promises, fmt.Sprintf("\n| %d | ", n))
		row, _, _ = strings.Cut(row, "\n")
		names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(row, -1)
		if !ok || len(names) == 0 {
			t.Errorf("promise %d names no test", n)
		}
		for _, name := range names {
			if !strings.Contains(sources.String(), "\nfunc "+name[1]+"(") {
				t.Errorf("promise %d names %s, which is no test", n, name[1])
			}
		}
	}
}

// Versions are those of the machine that wrote the page, so only the rows are compared.
func TestThePageOfPeersHasTheRowsOfCI(t *testing.T) {
	row := regexp.MustCompile(`(?m)^    row "?([^"\n]+?)"? "[^"]*" `)
	var want []string
	for _, found := range row.FindAllStringSubmatch(read(t, top+"/.ci/peers"), -1) {
		want = append(want, found[1])
	}
	_, table, _ := strings.Cut(read(t, top+"/deploy/doc/peers.md"), "<!-- begin: peers -->\n")
	table, _, _ = strings.Cut(table, "<!-- end: peers -->")
	var got []string
	for _, found := range regexp.MustCompile(`(?m)^\| ([^|]+) \| \S+ \| [^|]+ \|$`).FindAllStringSubmatch(table, -1) {
		if found[1] != "peer" {
			got = append(got, found[1])
		}
	}
	if len(want) < 30 || !slices.Equal(got, want) {
		t.Errorf("deploy/doc/peers.md has %q,\nwant %q; .ci/peers -write writes it anew", got, want)
	}
}

package rewrite_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "smtpshim"

// pure are the packages that a package that only decides may use: they have no
// clock, no files, no network and no goroutines. A context only passes through.
var pure = []string{
	"bytes", "cmp", "context", "encoding/base64", "encoding/binary", "errors", "fmt", "hash/maphash", "iter", "maps", "math", "math/bits", "mime", "mime/quotedprintable", "net/netip", "regexp", "regexp/syntax", "runtime/debug", "slices",
	"sort", "strconv", "strings", "unicode/utf8", "golang.org/x/net/idna", "smtpshim/rewrite", "smtpshim/rewrite/heal", "smtpshim/rewrite/mimetext", "smtpshim/rewrite/oneof", "smtpshim/rewrite/transcript", "smtpshim/rewrite/vocabulary",
}

func TestThePackagesThatDecideArePure(t *testing.T) {
	for _, dir := range []string{"rewrite", "rewrite/heal", "rewrite/mimetext", "rewrite/oneof", "rewrite/play"} {
		imports := importsOf(t)[dir]
		if len(imports) == 0 {
			t.Fatalf("no imports of %s found", dir)
		}
		for _, name := range imports {
			if !slices.Contains(pure, name) {
				t.Errorf("%s imports %q; a package that only decides may import %q", dir, name, pure)
			}
		}
	}
}

// ours are the packages of this module that each package may import. Whatever
// is not listed imports none; the commands know everybody.
var ours = map[string][]string{
	"rewrite":                   {"rewrite/oneof", "rewrite/vocabulary"},
	"rewrite/heal":              {"rewrite", "rewrite/mimetext"},
	"rewrite/play":              {"rewrite", "rewrite/heal", "rewrite/transcript", "rewrite/vocabulary"},
	"proxy":                     {"rewrite", "rewrite/oneof", "rewrite/transcript", "rewrite/vocabulary", "proxy/header", "proxy/provider", "proxy/servers", "proxy/tlspolicy", "proxy/wire"},
	"proxy/header":              {"rewrite/oneof"},
	"proxy/servers":             {"rewrite/oneof"},
	"proxy/evidence":            {"proxy"},
	"proxy/dialogues":           {"rewrite", "rewrite/transcript"},
	"proxy/journal":             {"proxy", "rewrite", "rewrite/heal", "rewrite/transcript", "rewrite/vocabulary"},
	"proxy/record":              {"proxy", "proxy/journal", "rewrite", "rewrite/transcript", "rewrite/vocabulary"},
	"proxy/probe":               {"rewrite", "rewrite/heal", "rewrite/transcript", "proxy/provider", "proxy/tlspolicy"},
	"proxy/probe/listen":        {"proxy/probe", "proxy/tlspolicy", "proxy/login/ntlm", "proxy/login/sasl", "rewrite", "rewrite/heal"},
	"proxy/login":               {"proxy/login/sasl", "proxy/login/token", "proxy/provider", "rewrite", "rewrite/oneof", "rewrite/vocabulary"},
	"proxy/login/sasl":          {"proxy/login/ntlm"},
	"proxy/login/token":         {"rewrite/oneof", "rewrite/vocabulary"},
	"proxy/login/sasl/sasltest": {"proxy/login/sasl"},
	"proxy/tlspolicy":           {"rewrite/oneof"},
	"metrics":                   {"rewrite/vocabulary"},
	"metrics/page":              {"metrics", "rewrite/vocabulary"},
	"proxy/smtptest":            {"rewrite/transcript"},
	"proxy/smtptest/real":       {"rewrite/transcript", "proxy/smtptest"},
}

func TestImportsPointOneWay(t *testing.T) {
	packages := importsOf(t)
	for _, dir := range []string{"rewrite", "rewrite/transcript", "rewrite/vocabulary", "proxy", "proxy/smtptest", "metrics", "cmd/smtpshim", "cmd/smtpshim/internal/config"} {
		if _, ok := packages[dir]; !ok {
			t.Errorf("there is no package %s", dir)
		}
	}
	for dir, imports := range packages {
		if strings.HasPrefix(dir, "cmd/") {
			continue
		}
		for _, name := range imports {
			if inner, ok := strings.CutPrefix(name, module+"/"); ok && !slices.Contains(ours[dir], inner) {
				t.Errorf("%s imports %s; of ours it may import %q", dir, inner, ours[dir])
			}
		}
	}
}

// importsOf reads what the files of every package of the module import, tests
// left out.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	const root = ".."
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		dir := path.Dir(filepath.ToSlash(rel))
		imports[dir] = append(imports[dir], []string{}...)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(imports[dir], imported) {
				imports[dir] = append(imports[dir], imported)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

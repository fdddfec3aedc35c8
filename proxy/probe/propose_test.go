package probe

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

func TestTheProposalIsStandardWhereThatHealsAll(t *testing.T) {
	r := Report{Products: []string{"iis-4"}, Findings: []Finding{{Name: "names", Kind: Fault, Rule: "fix-hello-name"}, {Name: "n", Kind: Note, Rule: "size-zero"}}}
	if p := r.Propose(); !slices.Equal(p.Rules, []string{"standard"}) || p.Settings != nil {
		t.Errorf("got %+v", p)
	}
}

func TestTheProposalPrefersTheSetOfTheProduct(t *testing.T) {
	r := Report{Products: []string{"cisco-pix"}, Findings: []Finding{
		{Name: "a", Kind: Fault, Rule: "host-name-first"}, {Name: "b", Kind: Fault, Rule: "masked-ehlo"}, {Name: "c", Kind: Strict, Rule: "strip-parameters"}}}
	if p := r.Propose(); !slices.Equal(p.Rules, []string{"standard", "cisco-pix", "strip-parameters"}) {
		t.Errorf("got %q", p.Rules)
	}
}

func TestSettingsStandOnceAndKeywordsTogether(t *testing.T) {
	r := Report{Findings: []Finding{
		{Name: "a", Kind: Fault, Rule: "hide-keywords", Setting: hide("DSN")}, {Name: "b", Kind: Fault, Rule: "hide-keywords", Setting: hide("PIPELINING")},
		{Name: "c", Kind: Fault, Setting: throughTLS}, {Name: "d", Kind: Strict, Setting: throughTLS}}}
	const want = `[[route]]
name = "probed"
listen = ["127.0.0.1:2525"]
servers = ["mail.example.com:25"]
rules = ["standard", "hide-keywords"]
client_tls.mode = "hide" # or "offer", with a certificate, for clients that want TLS
options.hide-keywords.keywords = ["DSN", "PIPELINING"]
server_tls.mode = "opportunistic"
`
	if got := r.Propose().Route("probed", "127.0.0.1:2525", "mail.example.com:25"); got != want {
		t.Errorf("got\n%s", got)
	}
}

// What findings name is there.
func TestEntriesAndRulesOfFindingsExist(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	coverage, n := heal.Cover(heal.Catalogue(), heal.Table()), 0
	for _, file := range files {
		if matched, _ := filepath.Match("*_test.go", file); matched {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`"(L[0-9]{2,3})"`).FindAllSubmatch(text, -1) {
			n++
			if _, ok := coverage.Entry(string(found[1])); !ok {
				t.Errorf("%s: there is no entry %s", file, found[1])
			}
		}
		for _, found := range regexp.MustCompile(`Rule(?:: |, f\.Heals = |, f\.Setting = | = )"([a-z0-9-]+)"`).FindAllSubmatch(text, -1) {
			n++
			if !slices.ContainsFunc(heal.Table(), func(r rewrite.Rule) bool { return r.Name == string(found[1]) }) {
				t.Errorf("%s: there is no rule %s", file, found[1])
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d names were looked at", n)
	}
}

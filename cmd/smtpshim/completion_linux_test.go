package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
	"smtpshim/rewrite/heal"
)

// completers are what prints, in each shell, the names that it would offer for the
// words of "smtpshim WORDS...", the last of which is begun. Bash and zsh have no way
// to be asked, so there what they call is called.
var completers = []struct{ shell, script string }{
	{"bash", `
		compopt() { [[ $* != "-o default" ]] || echo FILES; }
		source ../../deploy/completion/smtpshim.bash
		COMP_WORDS=(smtpshim "$@")
		COMP_CWORD=$#
		_smtpshim smtpshim "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
		printf '%s\n' "${COMPREPLY[@]}"`},
	{"zsh", `
		_describe() { local each; for each in ${(P)@[-1]}; do [[ $each != $PREFIX* ]] || print -r -- ${each%%:*}; done }
		_files() { print FILES }
		words=(smtpshim "$@")
		CURRENT=$#words
		PREFIX=$words[CURRENT]
		set --
		source ../../deploy/completion/_smtpshim || true # 1 is: there is nothing`},
	{"fish", `
		source ../../deploy/completion/smtpshim.fish
		function __fish_complete_path; echo FILES; end
		complete -C (string join -- ' ' smtpshim $argv) | string replace -r '\t.*' ''
		true # string says whether it replaced anything`},
}

// inShell runs a script in a shell that reads no file of the user, and finds smtpshim.
func inShell(t *testing.T, shell, script string, args ...string) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	argv := map[string][]string{
		"bash": {"--norc", "-c", script, "bash"},
		"zsh":  {"-f", "-c", script, "zsh"},
		"fish": {"--no-config", "-c", script},
	}[shell]
	command := exec.Command(real.Bin(t, shell, shell), append(argv, args...)...)
	command.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "TERM=dumb")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", shell, err)
	}
	return string(out)
}

func TestShellsCompleteWhatThereIs(t *testing.T) {
	names := []string{"help"}
	flags := map[string][]string{}
	flag := regexp.MustCompile(`(?m)^  (-\S+)`)
	for _, c := range commands() {
		names = append(names, c.name)
		_, _, usage := call(c.name, "-h")
		for _, found := range flag.FindAllStringSubmatch(usage, -1) {
			flags[c.name] = append(flags[c.name], found[1])
		}
	}
	var rules, articles, servers []string
	for _, r := range heal.Table() {
		rules = append(rules, r.Name)
	}
	for _, s := range heal.Sets() {
		rules = append(rules, s.Name)
	}
	for _, s := range scenes() {
		articles = append(articles, s.article)
	}
	for _, s := range smtptest.Servers() {
		servers = append(servers, s.Name)
	}
	for _, shell := range completers {
		t.Run(shell.shell, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				words []string
				want  []string
			}{
				{[]string{""}, names},
				{[]string{"ru"}, []string{"rules", "run"}},
				{[]string{"help", "ru"}, []string{"rules", "run"}},
				{[]string{"rules", ""}, rules},
				{[]string{"rules", "join-d"}, []string{"join-data-reply"}},
				{[]string{"rules", "-"}, flags["rules"]},
				{[]string{"watch", "-"}, flags["watch"]},
				{[]string{"watch", "-route", ""}, nil},
				{[]string{"run", "-config", ""}, []string{"FILES"}},
				{[]string{"play", ""}, []string{"FILES"}},
				{[]string{"play", "-against", ""}, []string{"FILES"}},
				{[]string{"play", "-against-rules", ""}, rules},
				{[]string{"play", "-route", ""}, nil},
				{[]string{"demo", ""}, articles},
				{[]string{"demo", "-listen", ""}, nil},
				{[]string{"demo", "-listen", "127.0.0.1:2525", ""}, servers},
				{[]string{"version", ""}, nil},
			} {
				got := strings.Fields(inShell(t, shell.shell, shell.script, c.words...))
				want := slices.Clone(c.want)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("smtpshim %q:\n got %q\nwant %q", c.words, got, want)
				}
			}
		})
	}
}

// TestZshFindsTheCompletion presses the tabulator in a terminal; fish was asked as a
// whole already, and bash has nothing to find.
func TestZshFindsTheCompletion(t *testing.T) {
	folder, err := filepath.Abs("../../deploy/completion")
	if err != nil {
		t.Fatal(err)
	}
	out := inShell(t, "zsh", fmt.Sprintf(`
		zmodload zsh/zpty
		zpty shell zsh -f -i
		zpty -w shell 'fpath=(%s $fpath); autoload -U compinit; compinit -u -D'
		zpty -w -n shell $'smtpshim rules join-d\t\n'
		zpty -w shell exit
		while zpty -r shell line; do print -r -- "$line"; done`, folder))
	if !strings.Contains(out, "heals Windows 2003") {
		t.Errorf("smtpshim rules join-data-reply was not run:\n%s", out)
	}
}

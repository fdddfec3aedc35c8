package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"smtpshim/proxy/smtptest/real"
)

const (
	commandPage = "../../deploy/man/smtpshim.8"
	configPage  = "../../deploy/man/smtpshim.toml.5"
)

func TestTheManualHasEveryCommandAndFlag(t *testing.T) {
	var synopsis, all strings.Builder
	for _, c := range commands() {
		status, _, usage := call(c.name, "-h")
		if status != succeeded {
			t.Fatalf("%s -h: %d\n%s", c.name, status, usage)
		}
		line, item := commandMdoc(c.name, usage)
		synopsis.WriteString(line)
		all.WriteString(item)
	}
	between(t, commandPage, "synopsis", synopsis.String())
	between(t, commandPage, "commands", all.String())
}

func TestTheManualHasEveryKey(t *testing.T) {
	between(t, configPage, "keys", keysMdoc(read(t, top+"/config.example.toml")))
}

func TestTheManualIsWellFormed(t *testing.T) {
	mandoc := real.Bin(t, "mandoc", "mandoc")
	for _, page := range []string{commandPage, configPage, rulesPage} {
		out, err := exec.Command(mandoc, "-Tlint", "-Wstyle", page).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			installed := strings.Contains(line, "mandoc.db") || strings.Contains(line, "referenced manual not found")
			if !installed { // which pages are does not matter
				t.Error(strings.TrimSpace(line))
			}
		}
		if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err)
		}
	}
}

// between wants text between two marks of a file, or writes it there with -update.
func between(t *testing.T, file, name, text string) {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	marks := regexp.MustCompile(`(?s)(\n\.\\" begin: ` + name + `,[^\n]*\n)(.*)(\.\\" end: ` + name + `\n)`)
	at := marks.FindSubmatchIndex(page)
	if at == nil {
		t.Fatalf("%s has no marks for %s", file, name)
	}
	from, to := at[4], at[5]
	if *update {
		if err := os.WriteFile(file, bytes.Join([][]byte{page[:from], page[to:]}, []byte(text)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := string(page[from:to]); got != text {
		t.Errorf("%s, %s: go test ./cmd/smtpshim -run TheManualHas -update writes it anew:\n%s", file, name, udiff.Unified("is", "is to be", got, text))
	}
}

// commandMdoc makes mdoc of the usage of a command: a line of the synopsis,
// and an item of a list.
func commandMdoc(name, usage string) (synopsis, item string) {
	lines := strings.Split(strings.TrimSuffix(usage, "\n"), "\n")
	args := argsMdoc(strings.TrimPrefix(lines[0], "usage: smtpshim "+name))
	var out strings.Builder
	fmt.Fprintf(&out, ".It Ic %s%s\n", name, args)
	rest := strings.Join(lines[1:], "\n")
	about, list, _ := strings.Cut(strings.Trim(rest, "\n"), "\n\n")
	out.WriteString(proseMdoc(about))
	if list != "" {
		out.WriteString(".Bl -tag -width Ds\n")
		for line := range strings.SplitSeq(list, "\n") {
			if text, ok := strings.CutPrefix(line, "    \t"); ok {
				out.WriteString(proseMdoc(text))
				continue
			}
			fmt.Fprintf(&out, ".It%s\n", argsMdoc(line))
		}
		out.WriteString(".El\n")
	}
	return ".Nm\n.Cm " + name + args + "\n", out.String()
}

var argument = regexp.MustCompile(`[][]|[^][\s]+`)

// argsMdoc makes mdoc of arguments such as "[-config FILE] [URL]".
func argsMdoc(args string) (macros string) {
	for _, word := range argument.FindAllString(args, -1) {
		switch flag, isFlag := strings.CutPrefix(word, "-"); {
		case word == "[":
			macros += " Oo"
		case word == "]":
			macros += " Oc"
		case isFlag:
			macros += " Fl " + flag
		default:
			macros += " Ar " + word
		}
	}
	return macros
}

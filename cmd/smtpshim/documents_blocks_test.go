package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/config/configtest"
)

// A block is a text in a document that is set apart, with its place.
type block struct {
	file, text string
	line       int
	language   string // "": it is indented
}

// blocks are those that are indented by four blanks, in which they are dedented, and
// those between fences. Lists have none that are indented.
func blocks(file, text string) (all []block) {
	var b *block
	fenced, blank := false, true
	n := 0
	for line := range strings.Lines(text) {
		n++
		isFence := strings.HasPrefix(line, "```")
		indented, isIndented := strings.CutPrefix(line, "    ")
		switch {
		case isFence:
			if fenced = !fenced; fenced {
				all = append(all, block{file: file, line: n + 1, language: strings.Trim(line, "`\n")})
				b = &all[len(all)-1]
			} else {
				b = nil
			}
		case fenced:
			b.text += line
		case isIndented && b != nil:
			b.text += indented
		case isIndented && blank:
			all = append(all, block{file: file, text: indented, line: n})
			b = &all[len(all)-1]
		case b != nil && line == "\n":
			b.text += line
		default:
			b = nil
		}
		blank = line == "\n"
	}
	for i := range all {
		all[i].text = strings.TrimRight(all[i].text, "\n") + "\n"
	}
	return all
}

var (
	configuration = regexp.MustCompile(`^ *(?:\[\[?[a-z_.]+\]\]?|[a-z_]+ *= *["\[a-z0-9{].*)\n`)
	ofProgram     = regexp.MustCompile(`(?m)^\[admin\]|^(?:state_dir|drain|lock_in) *=`)
	keyOfRoute    = regexp.MustCompile(`(?m)^ *(name|listen|servers) *=`)
)

// wholeConfiguration is a block with what stands around it elsewhere.
func wholeConfiguration(text string) string {
	if strings.HasPrefix(text, "[[route]]") || strings.Contains(text, "\n[[route]]") {
		if !strings.Contains(text, "state_dir") {
			text = "state_dir = \"state\"\n" + text
		}
		return text
	}
	route := "[[route]]\n"
	has := map[string]bool{}
	if !ofProgram.MatchString(text) {
		head, _, _ := strings.Cut(text, "[")
		if i := strings.Index(text, "\n["); i >= 0 {
			head = text[:i]
		} else if !strings.HasPrefix(strings.TrimSpace(text), "[") {
			head = text
		}
		for _, key := range keyOfRoute.FindAllStringSubmatch(head, -1) {
			has[key[1]] = true
		}
	}
	for key, value := range map[string]string{"name": `"any"`, "listen": `[":25"]`, "servers": `["192.0.2.25:25"]`} {
		if !has[key] {
			route += key + " = " + value + "\n"
		}
	}
	switch {
	case ofProgram.MatchString(text):
		return text + route
	case strings.Contains(text, "[route.record]"), strings.Contains(text, "[[route.client_tls"):
		return "state_dir = \"state\"\n" + route + text
	}
	return route + text
}

func TestTheDocumentsConfigurationsAreRight(t *testing.T) {
	all, checked := documents(t), 0
	for _, name := range inOrder(all) {
		for _, b := range blocks(name, all[name]) {
			if b.language != "toml" && (b.language != "" || !configuration.MatchString(b.text)) {
				continue
			}
			checked++
			dir := t.TempDir()
			writeRecipeFiles(t, dir)
			configtest.Certificate(t, dir+"/mail.example.com.pem", configtest.Key(t, dir+"/mail.example.com.key"), time.Now().AddDate(1, 0, 0))
			if err := os.MkdirAll(dir+"/recorded", 0o700); err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer(
				"/var/lib/smtpshim/recorded", dir+"/recorded",
				"$2y$12$...", "$2y$12$"+strings.Repeat("a", 53), // as htpasswd writes it
			).Replace(wholeConfiguration(b.text))
			file := filepath.Join(dir, "smtpshim.toml")
			write(t, file, text)
			if _, err := config.Read(file, rehearse(t.TempDir())); err != nil {
				t.Errorf("%s:%d: %v\n%s", b.file, b.line, err, text)
			}
		}
	}
	if checked < 25 {
		t.Errorf("%d configurations found, want at least 25", checked)
	}
}

var (
	// What a line of a block begins with that somebody types.
	typed = regexp.MustCompile(`^(?:[$#] )?(?:go|smtpshim|\./smtpshim|deploy/\S+|\.ci/\S+|/usr/lib/smtpshim/\S+|swaks|curl|dpkg|rpm|systemctl|journalctl|docker|kill|install|runuser|setcap|useradd|nft|cd) `)
	// A command in a sentence.
	spoken = regexp.MustCompile("`(smtpshim [a-z][^`]*)`")
	ours   = regexp.MustCompile(`(?:^|[\s(])(?:\./)?smtpshim ([a-z]+)((?: [^\s|<>#;&]+)*)`)
	goTest = regexp.MustCompile(`go test ((?:-\w+ )*)(\./\S+)(?: -run '?([^\s']+)'?)?`)
	here   = regexp.MustCompile(`(?:^|\s)((?:deploy|\.ci)/[A-Za-z0-9._/-]+)`)
)

// commandsIn are the lines that somebody types, and the commands in sentences.
func commandsIn(t *testing.T, name, text string) (list []string) {
	t.Helper()
	var script strings.Builder
	for _, b := range blocks(name, text) {
		if !typed.MatchString(b.text) {
			continue
		}
		for line := range strings.Lines(b.text) {
			if !typed.MatchString(line) {
				continue
			}
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "$ "), "# ")
			script.WriteString(line + "\n")
			list = append(list, line)
		}
	}
	check := exec.Command("bash", "-n")
	check.Stdin = strings.NewReader(script.String())
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%s: what is typed in it is no script: %v\n%s\n%s", name, err, out, &script)
	}
	for _, found := range spoken.FindAllStringSubmatch(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n\n", " `` ")), " "), -1) {
		list = append(list, found[1])
	}
	return list
}

// Of each command of smtpshim there is the word and each flag, of each of the repository
// the file, and of each test that -run names one at least.
func TestTheDocumentsCommandsAreThere(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash reads what is typed, and there is none")
	}
	all, checked := documents(t), 0
	for _, name := range inOrder(all) {
		if name == "CHANGELOG.md" {
			continue // tells what was
		}
		for _, line := range commandsIn(t, name, all[name]) {
			checked++
			line = strings.ReplaceAll(line, "go run ./cmd/smtpshim", "smtpshim")
			for _, found := range ours.FindAllStringSubmatch(line, -1) {
				checkOurs(t, name+": "+line, found[1], strings.Fields(found[2]))
			}
			for _, found := range here.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(top, found[1])); err != nil {
					t.Errorf("%s: %s: %v", name, line, err)
				}
			}
			for _, found := range goTest.FindAllStringSubmatch(line, -1) {
				checkTest(t, name+": "+line, found[2], found[3])
			}
		}
	}
	if checked < 60 {
		t.Errorf("%d commands found, want at least 60", checked)
	}
}

// checkOurs looks at a command of smtpshim.
func checkOurs(t *testing.T, where, word string, args []string) {
	t.Helper()
	status, usage, errs := call(word, "-h")
	if usage += errs; status != succeeded {
		t.Errorf("%s: %s", where, errs)
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && len(arg) > 1 && arg != "-h" && !regexp.MustCompile(regexp.QuoteMeta(arg)+`\b`).MatchString(usage) {
			t.Errorf("%s: smtpshim %s has no %s", where, word, arg)
		}
	}
}

// checkTest looks for a test of a package, whose name a pattern matches.
func checkTest(t *testing.T, where, pkg, pattern string) {
	t.Helper()
	folder := filepath.Join(top, pkg)
	if strings.HasSuffix(pkg, "...") {
		folder = top
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	if pattern == "" {
		return
	}
	pattern, _, _ = strings.Cut(pattern, "/")
	names, err := regexp.Compile(`(?m)^func Test\w*(?:` + pattern + `)`)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if names.MatchString(read(t, file)) {
			return
		}
	}
	t.Errorf("%s: no test of %s is named so", where, pkg)
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tables are what READMEs have between marks that name the command which prints it.
var tables = []struct{ file, command string }{
	{"../../README.md", "rules -markdown"},
	{"../../rewrite/README.md", "rules -coverage -markdown"},
}

func TestTheReadmeHasTheTablesAsTheProgramPrintsThem(t *testing.T) {
	for _, table := range tables {
		readme, err := os.ReadFile(table.file)
		if err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if status := run(strings.Fields(table.command), &out, &errs); status != succeeded {
			t.Fatalf("%s: exit status %d: %s", table.command, status, &errs)
		}
		mark := "-- begin: smtpshim " + table.command + " -->\n"
		before, rest, ok := strings.Cut(string(readme), mark)
		got, after, closed := strings.Cut(rest, "<!-- end -->")
		switch {
		case !ok || !closed:
			t.Errorf("%s has no marks for %s", table.file, table.command)
		case got == out.String():
		case *update:
			if err := os.WriteFile(table.file, []byte(before+mark+out.String()+"<!-- end -->"+after), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s, %s: go test -run TheReadmeHas -update writes it anew; it has\n%s\nwant\n%s", table.file, table.command, got, &out)
		}
	}
}

// TestTheReadmesConfigurationsAreRight checks every indented block that is one.
func TestTheReadmesConfigurationsAreRight(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for block := range strings.SplitSeq(string(readme), "\n\n    [[route]]\n") {
		if checked++; checked == 1 {
			continue // before the first
		}
		var config strings.Builder
		config.WriteString("state_dir = \"state\"\n[[route]]\n") // which stands before the block, where it is needed
		for line := range strings.Lines(block) {
			if line != "\n" && !strings.HasPrefix(line, "    ") {
				break
			}
			config.WriteString(line)
		}
		dir := t.TempDir()
		file := dir + "/smtpshim.toml"
		writeCertificate(t, dir+"/mail.example.com.pem", writeKey(t, dir+"/mail.example.com.key"), time.Now().AddDate(1, 0, 0))
		write(t, dir+"/office.secret", "made-up-secret\n")
		if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readConfig(file, rehearse(t.TempDir())); err != nil {
			t.Errorf("%v\n%s", err, &config)
		}
	}
	if checked < 5 {
		t.Errorf("%d configurations found in README.md, want at least 4", checked-1)
	}
}

func TestTheTestsThatThePromisesNameExist(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, promises, _ := strings.Cut(string(readme), "\n## What it promises\n")
	promises, _, _ = strings.Cut(promises, "\n## ")
	var sources strings.Builder
	for _, folder := range []string{".", "../../metrics", "../../proxy", "../../rewrite"} {
		files, err := filepath.Glob(folder + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", folder, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(source)
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

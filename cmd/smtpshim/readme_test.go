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

func TestTheReadmeHasTheRulesAsTheProgramPrintsThem(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run([]string{"rules", "-markdown"}, &out, &errs); status != succeeded {
		t.Fatalf("exit status %d: %s", status, &errs)
	}
	before, rest, ok := strings.Cut(string(readme), "-- begin: smtpshim rules -markdown -->\n")
	table, after, closed := strings.Cut(rest, "<!-- end -->")
	if *update && ok && closed {
		whole := before + "-- begin: smtpshim rules -markdown -->\n" + out.String() + "<!-- end -->" + after
		if err := os.WriteFile("../../README.md", []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !ok || !closed || table != out.String() {
		t.Errorf("between its marks README.md has\n%s\nwant\n%s", table, &out)
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

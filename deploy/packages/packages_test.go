//go:build linux && !race

// Package packages builds the packages as build does, and looks at them as those who
// install them will.
package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// version is what is built.
const version = "1.2.3-rc1"

// dist is the folder with the packages of this machine's architecture, built once for
// all tests.
var dist = sync.OnceValues(func() (string, error) { return filepath.Join(scratch, "dist"), build("dist") })

// scratch is for what is built.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "smtpshim-packages-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}

// build builds the packages into a folder of scratch.
func build(folder string, env ...string) error {
	command := exec.Command("./build", version)
	command.Env = append(os.Environ(), "ARCHES="+runtime.GOARCH, "DIST="+filepath.Join(scratch, folder))
	command.Env = append(command.Env, env...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("deploy/packages/build: %w\n%s", err, out)
	}
	return nil
}

// built is the path of the package of a kind, deb or rpm.
func built(t *testing.T, kind string) string {
	t.Helper()
	folder, err := dist()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(folder + "/smtpshim*" + version[:5] + "~rc1-1[._]*." + kind)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages for %s in %s (%v), want 1", len(found), kind, folder, err)
	}
	return found[0]
}

// output is what a program prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(real.Bin(t, program, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheSameCommitMakesTheSamePackages(t *testing.T) {
	first := map[string][]byte{}
	for _, kind := range []string{"deb", "rpm"} {
		file := built(t, kind)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first[filepath.Base(file)] = content
	}
	for folder, c := range map[string]struct {
		env  string
		same bool
	}{
		"elsewhere": {"TZ=Asia/Tokyo", true},
		"later":     {"SOURCE_DATE_EPOCH=1900000000", false},
	} {
		if err := build(folder, c.env); err != nil {
			t.Fatal(err)
		}
		for name, content := range first {
			again, err := os.ReadFile(filepath.Join(scratch, folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(content, again) != c.same {
				t.Errorf("%s built again with %s is the same: %v, want %v", name, c.env, !c.same, c.same)
			}
		}
	}
}

func TestLintianHasNothingToSay(t *testing.T) {
	if out := output(t, "lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", built(t, "deb")); out != "" {
		t.Errorf("lintian:\n%s", out)
	}
}

// The documents lie in the package as in the repository, and lead nowhere else.
func TestLinksOfTheDocumentsResolveInThePackage(t *testing.T) {
	root, links := t.TempDir(), 0
	output(t, "dpkg-deb", "-x", built(t, "deb"), root)
	doc := filepath.Join(root, "usr/share/doc/smtpshim")
	for _, pattern := range []string{"*.md", "deploy/doc/*.md", "deploy/recipes/*.md"} {
		files, err := filepath.Glob(filepath.Join(doc, pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range link.FindAllStringSubmatch(string(text), -1) {
				links++
				if _, err := os.Stat(filepath.Join(filepath.Dir(file), found[1])); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
	if links < 80 {
		t.Errorf("%d links found, want at least 80", links)
	}
}

// link is one to a file.
var link = regexp.MustCompile(`\]\(([^)\s#:]+)(?:#[^)\s]*)?\)`)

func TestTheRPMIsWellFormed(t *testing.T) {
	rpm := built(t, "rpm")
	if out := output(t, "rpm", "-K", "--nosignature", rpm); !strings.Contains(out, "digests OK") {
		t.Errorf("rpm -K: %s", out)
	}
	if out := output(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{RELEASE} %{BUILDHOST}", rpm); out != "smtpshim 1.2.3~rc1 1 localhost" {
		t.Errorf("it is %s", out)
	}
	if out := output(t, "rpm", "-qpc", rpm); out != "/etc/smtpshim/smtpshim.toml\n" {
		t.Errorf("its configuration is %q", out)
	}
	files := strings.Fields(output(t, "rpm", "-qpl", rpm))
	for line := range strings.Lines(output(t, "dpkg-deb", "-c", built(t, "deb"))) {
		file := strings.TrimPrefix(strings.Fields(line)[5], ".")
		file = strings.Replace(file, "vendor-completions", "site-functions", 1)
		debians := strings.HasSuffix(file, "/") || strings.Contains(file, "lintian") || strings.Contains(file, "Debian")
		if !debians && !slices.Contains(files, file) {
			t.Errorf("%s is for Debian alone", file)
		}
	}
	for _, script := range []string{"POSTIN", "PREUN", "POSTUN"} {
		text := output(t, "rpm", "-qp", "--qf", "%{"+script+"}", rpm)
		if !strings.HasPrefix(text, "#!/bin/sh\n") {
			t.Errorf("%s is %q", script, text)
		}
		output(t, "sh", "-nc", text)
	}
}

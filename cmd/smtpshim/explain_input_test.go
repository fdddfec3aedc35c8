package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// explainArgs runs explain with these arguments in a directory with the files a.eml and
// b.log, and returns what it prints, with single blanks.
func explainArgs(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"a.eml":  bounceHead + "\nsaid: 502 Server does not support AUTH.\n",
		"b.log":  "552 Too many recipients\n552 Too many recipients\n",
		"blank":  " \n\n",
		"known":  "571 zork\n",
		"d/x.gz": "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	status = explainFrom(args, strings.NewReader(stdin), &out, &errs)
	return status, strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(errs.String()), " ")
}

func TestFilesAreExplainedTogether(t *testing.T) {
	status, stdout, stderr := explainArgs(t, "", "a.eml", "b.log")
	if status != succeeded || !strings.Contains(stdout, "translate-xauth") || !strings.Contains(stdout, "too-many-recipients") || !strings.Contains(stdout, "in 2 of the 3 lines") || stderr != "" {
		t.Errorf("status %d, %s %s", status, stdout, stderr)
	}
}

func TestAFileThatIsNotThereIsSaidToBeMissing(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string // on standard error
	}{
		{[]string{"nofile.eml"}, failed, "no file nofile.eml; taken as text"},
		{[]string{"no.log", "no.eml"}, failed, "no file no.log, no.eml; taken as text"},
		{[]string{"a.eml", "no.eml"}, failed, "no file no.eml; name files that exist"},
		{[]string{"./nowhere"}, failed, "no file ./nowhere; taken as text"},
		{[]string{"./d"}, failed, "./d is a directory; name the files in it"},
		{[]string{"-", "a.eml"}, failed, "- is standard input, and stands alone"},
	} {
		status, stdout, stderr := explainArgs(t, "", c.args...)
		if status != c.status || stdout != "" || !strings.HasPrefix(stderr, "smtpshim explain: "+c.says) {
			t.Errorf("%q: status %d, %s %s", c.args, status, stdout, stderr)
		}
	}
}

// Any word may be the name of a file, and most texts have some.
func TestATextIsNotTakenForFiles(t *testing.T) {
	for _, args := range [][]string{
		{"552", "Too", "many", "recipients", "known"},
		{"552", "Too", "many", "recipients", "nofile.eml"},
		{"said: 552 Too many recipients, see mail.log"},
		{"552 Too many recipients", "d"},
	} {
		status, stdout, stderr := explainArgs(t, "", args...)
		if status != succeeded || !strings.Contains(stdout, "too-many-recipients") || stderr != "" {
			t.Errorf("%q: status %d, %s %s", args, status, stdout, stderr)
		}
	}
	for _, name := range []string{"nofile.eml", "/var/log/mail", "C:\\mail\\x", "mail.log", "mail.log.1.gz", "../x", "bounce.EML"} {
		if !looksLikeFile(name) {
			t.Errorf("%s does not look like a file", name)
		}
	}
	for _, word := range []string{"mx.example.com", "5.7.1", "550", "a@example.com", "no such file x.eml", "SMTPSEND.BareLinefeedsAreIllegal", "250-8BITMIME"} {
		if looksLikeFile(word) {
			t.Errorf("%s looks like a file", word)
		}
	}
}

func TestWhereThereIsNoTextItIsSaid(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-"}, "there is no text in standard input"},
		{[]string{"blank"}, "there is no text in blank"},
		{[]string{""}, "there is no text in TEXT"},
	} {
		status, stdout, stderr := explainArgs(t, "\n", c.args...)
		if status != failed || stdout != "" || stderr != "smtpshim explain: "+c.says {
			t.Errorf("%q: status %d, %s %s", c.args, status, stdout, stderr)
		}
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads any file")
	}
	name := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(name, nil, 0); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := explainArgs(t, "", name); status != failed || !strings.Contains(stderr, "permission denied") {
		t.Errorf("status %d, %s", status, stderr)
	}
}

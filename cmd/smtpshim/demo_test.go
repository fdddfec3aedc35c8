package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestDemoHealsEveryFoundingArticle(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run([]string{"demo"}, &out, &errs); status != succeeded {
		t.Fatalf("exit status %d\n%s%s", status, &out, &errs)
	}
	for _, s := range scenes() {
		if !strings.Contains(out.String(), s.article+"  "+s.title) {
			t.Errorf("nothing of %s", s.article)
		}
	}
	for _, want := range []string{
		"stays with HELO", `"502 Server does not support AUTH."`, `"505 Must issue a STARTTLS command first"`,
		"the recipient has 3 copies", `"501 Invalid Address"`, "All 5 healed.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colour where there is no terminal")
	}
	for _, blob := range []string{"TlRMTVNTUA"} {
		if strings.Contains(out.String(), blob) {
			t.Errorf("a SASL line in\n%s", &out)
		}
	}
}

func TestDemoShowsOneSceneByArticleOrName(t *testing.T) {
	for _, name := range []string{"q240832", "Q240832", "notes"} {
		var out, errs bytes.Buffer
		if status := run([]string{"demo", name}, &out, &errs); status != succeeded || !strings.Contains(out.String(), "All 1 healed.") {
			t.Errorf("%s: exit status %d\n%s%s", name, status, &out, &errs)
		}
	}
}

func TestDemoSaysWhatThereIs(t *testing.T) {
	for _, args := range [][]string{{"demo", "exchange-6"}, {"demo", "-listen", "127.0.0.1:0", "exchange-6"}} {
		var out, errs bytes.Buffer
		if status := run(args, &out, &errs); status != misused || !strings.Contains(errs.String(), "iis-4") {
			t.Errorf("%q: exit status %d, %q", args, status, &errs)
		}
	}
}

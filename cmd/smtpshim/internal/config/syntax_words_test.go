package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is often wrong in a file is told in words that need no knowledge of TOML.
func TestMistakesOfSyntaxAreToldPlainly(t *testing.T) {
	for text, want := range map[string]string{
		"rules = [\"a\" \"b\"]":         `a comma is missing in the array, or its "]"`,
		"rules = [\"a\", \"b]":          "a text has quotes at one end only",
		"rules = [\"a\",, \"b\"]":       "there is a comma without a value before it",
		"name = \"a\",":                 "the comma at the end has to go: each key has a line of its own",
		"name = \"a\" b":                "after the value there may only be a comment, not 'b'",
		"name =":                        "a value is missing after the =",
		"name: \"a\"":                   "a key is wanted, then = and its value",
		"= \"a\"":                       "a key is missing before the =",
		"a = {b = \"1\" c = 2}":         `a comma is missing in the table, or its "}"`,
		"a = 1\na = 2":                  "a is there twice; once is enough",
		`a = "C:\smtpshim"`:             `a backslash between " and " has a meaning of its own; write two for each, or '...' in place of "..."`,
		`a = "C:\Users"`:                `a backslash between " and " has a meaning of its own; write two for each, or '...' in place of "..."`,
		"a = \"caf\xe9\"":               "octet 0xe9 is not UTF-8; save the file as UTF-8",
		"a = \"b\x01\"":                 "a character that cannot be seen is in the line (0x01); write the line anew",
		"chunking = “hide”":             `these are curly quotes; write plain ones: "`,
		"chunking = \"hide”":            `these are curly quotes; write plain ones: "`,
		"chunking = ‘hide’":             `these are curly quotes; write plain ones: "`,
		"rules = [„hide“]":              `these are curly quotes; write plain ones: "`,
		"\xff\xfea\x00 \x00=\x00":       "this file is UTF-16; save it as UTF-8",
		"\xfe\xff\x00a\x00=":            "this file is UTF-16; save it as UTF-8",
		"a\x00 \x00=\x00 \x001\x00":     "this file is UTF-16; save it as UTF-8",
		"chunking = \"a\" # it’s\nb = ": "a value is missing after the =",
	} {
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, text+"\n")
		_, err := openSource(path)
		if err == nil || !strings.HasSuffix(err.Error(), ": not TOML: "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Package testdata contains the transcripts of the rules, which the program shows, and
// which tests of package rewrite and package proxy play.
package testdata

import (
	"embed"
	"errors"
	"io/fs"
	"strings"

	"smtpshim/rewrite/transcript"
)

//go:embed *.txt
var files embed.FS

// Of returns the transcript in the file called name with .txt. If name is that of a rule,
// the transcript shows what the rule does. Of returns nil and no error if there is no
// such file, as for rules that change only the text of messages.
func Of(name string) (*transcript.File, error) {
	name += ".txt"
	text, err := files.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return transcript.Parse(name, text)
}

// All returns all transcripts. The keys are the names of their files without .txt.
func All() (map[string]*transcript.File, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	all := map[string]*transcript.File{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".txt")
		if all[name], err = Of(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Package testdata has the transcripts of the rules, for the program to show. They
// are the files that the tests of package rewrite and package proxy play.
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

// Of returns the transcript NAME.txt, of which that with a rule's name shows what the
// rule does; nil if there is none, as for rules that change only the text of messages.
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

// All returns every transcript, by its file's name without .txt.
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

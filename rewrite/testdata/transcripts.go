// Package testdata has the transcripts of the rules, for the program to show. They
// are the files that the tests of package rewrite and package proxy play.
package testdata

import (
	"embed"
	"errors"
	"io/fs"

	"smtpshim/rewrite/transcript"
)

//go:embed *.txt
var files embed.FS

// Of returns the transcript that shows what a rule does, NAME.txt; nil if there is
// none, as for rules that change only the text of messages.
func Of(rule string) (*transcript.File, error) {
	name := rule + ".txt"
	text, err := files.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return transcript.Parse(name, text)
}

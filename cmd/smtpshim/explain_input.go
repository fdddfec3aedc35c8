package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// An input is something that is read and explained.
type input struct {
	name string
	io.Reader
}

// inputs returns what args name: standard input, files, or else the text that they are.
// note is what to tell the user about args that look like a file and are none. Of several
// args, all must be files, or none may look like one.
func inputs(args []string, stdin io.Reader) (list []input, note string, err error) {
	if slices.Contains(args, "-") {
		if len(args) > 1 {
			return nil, "", errors.New("- is standard input, and stands alone; leave the other arguments out, or the -")
		}
		return []input{{"standard input", stdin}}, "", nil
	}
	text := []input{{"TEXT", strings.NewReader(strings.Join(args, " "))}}
	var there, missing []string
	for _, arg := range args {
		switch is, err := isFile(arg); {
		case err != nil:
			return nil, "", err
		case is:
			there = append(there, arg)
		case looksLikeFile(arg):
			missing = append(missing, arg)
		}
	}
	switch {
	case len(there) == len(args):
	case len(there) > 0 && len(there)+len(missing) == len(args):
		return nil, "", fmt.Errorf("no file %s; name files that exist, or a text in quotes", strings.Join(missing, ", "))
	case len(there) == 0 && len(missing) == len(args):
		return text, fmt.Sprintf("no file %s; taken as text", strings.Join(missing, ", ")), nil
	default:
		return text, "", nil
	}
	for _, name := range there {
		file, err := os.Open(name)
		if err != nil {
			closeAll(list)
			return nil, "", err
		}
		list = append(list, input{name, file})
	}
	return list, "", nil
}

// isFile reports whether a file of this name is there. A name without a slash must be that
// of a regular file, because any word may be the name of something. A directory is an
// error if the name can be nothing else.
func isFile(name string) (bool, error) {
	info, err := os.Stat(name)
	switch path := strings.ContainsAny(name, `/\`); {
	case err != nil:
		return false, nil
	case info.IsDir() && path:
		return false, fmt.Errorf("%s is a directory; name the files in it", name)
	default:
		return info.Mode().IsRegular() || path && !info.IsDir(), nil
	}
}

// fileName matches names of mail, of logs and of texts, and paths.
var fileName = regexp.MustCompile(`(?i)^(?:(?:[a-z]:)?[/\\]|\.\.?[/\\]|~[/\\])\S|^[^\s@<>"]+\.(?:eml|msg|mbox|txt|text|log|json|jsonl|html?|csv|out|[0-9]{1,2}\.gz|gz)$`)

// looksLikeFile reports whether arg looks like the name of a file.
func looksLikeFile(arg string) bool { return fileName.MatchString(arg) }

func closeAll(list []input) {
	for _, s := range list {
		if file, ok := s.Reader.(*os.File); ok && file != os.Stdin {
			file.Close()
		}
	}
}

// names returns the names of what was read.
func names(list []input) string {
	var all []string
	for _, s := range list {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// included opens the files in the directory that the key include names, in the order of
// their names.
func (t *table) included() (files []*table) {
	dir := t.beside(t.text("include", ""))
	if dir == "" {
		return nil
	}
	t.reach(dir, Reading)
	found, err := os.ReadDir(dir)
	if err != nil {
		t.wrongDir("include", dir, err)
		return nil
	}
	for _, entry := range found {
		name := entry.Name()
		if entry.IsDir() || !strings.HasSuffix(name, ".toml") || strings.HasPrefix(name, ".") {
			continue // files of editors and package managers are not included
		}
		file, err := openIncluded(filepath.Join(dir, name))
		if err == nil {
			files = append(files, file)
			t.places = append(t.places, Besides(file.source.path)...)
			continue
		}
		if list, ok := errors.AsType[Mistakes](err); ok {
			t.unread = append(t.unread, list...)
		} else {
			path := filepath.Join(dir, name)
			t.unread = append(t.unread, Mistake{File: path, Text: err.Error(), cause: &fs.PathError{Op: "open", Path: path, Err: err}})
		}
	}
	return files
}

// openIncluded opens a file of a directory. It opens only regular files: a named pipe
// would block a reload.
func openIncluded(path string) (*table, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // although the directory lists it
		return nil, fmt.Errorf("reading %s: %w; it is a link to a file that is not there, or has gone meanwhile", path, fs.ErrNotExist)
	case err != nil:
		return nil, unreadable(path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("reading %s: it is no file, but %s", path, kindOf(info.Mode()))
	}
	return openSource(path)
}

// kindOf describes a file that is not a regular one.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// wrongDir reports that a directory of files cannot be read.
func (t *table) wrongDir(key, dir string, err error) {
	cause := err
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err // the error repeats the path
	}
	hint := ""
	switch {
	case strings.ContainsAny(filepath.Base(dir), "*?"):
		name, _ := t.values[key].(string)
		hint = fmt.Sprintf("; write the directory alone, %q: of that all *.toml are read", filepath.Dir(name))
	case strings.HasSuffix(dir, ".toml"):
		hint = "; the name of a directory is wanted, whose files are all read"
	case errors.Is(err, fs.ErrNotExist):
		hint = "; make it, or leave the key out"
	}
	t.wrong(key, "reading the directory %s: %v%s", dir, err, hint)
	t.mistakes[len(t.mistakes)-1].cause = cause // its path shows whether it is out of reach
}

// onlyParts reports keys that a file must not have if the file at main includes it.
func (t *table) onlyParts(main string) {
	for key := range t.values {
		if key != "route" && key != "account" {
			t.wrong(key, "does not belong here: a file that is included has [[route]] and [[account]] alone, and %s the rest", main)
		}
	}
}

// tablesOf returns the tables of an array that several files may have.
func tablesOf(files []*table, key string) (all []*table) {
	for _, file := range files {
		all = append(all, file.tables(key)...)
	}
	return all
}

// placeFor describes the position of a table to a reader of the file of other.
func (t *table) placeFor(other *table) string {
	line := fmt.Sprintf("line %d", t.lines.line(t.path))
	if t.source != other.source {
		line += " of " + t.source.path
	}
	return line
}

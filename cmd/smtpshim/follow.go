package main

import (
	"slices"

	"smtpshim/rewrite/oneof"
)

// follows notes at key what may be wrong only because something else is: it is left out
// where one of these keys of the table, key itself if none is named, has a mistake of its
// own, or its name or that of a table around it is misspelt.
func (t *table) follows(keys []string, key, format string, args ...any) {
	t.wrong(key, format, args...)
	if keys == nil {
		keys = []string{key}
	}
	m := &t.mistakes[len(t.mistakes)-1]
	for _, k := range keys {
		m.after = append(m.after, join(t.path, k))
	}
}

// withoutFollowing are mistakes without those that only follow from others.
func (s *source) withoutFollowing(all mistakes) mistakes {
	return slices.DeleteFunc(slices.Clone(all), func(m mistake) bool {
		return slices.ContainsFunc(m.after, func(path string) bool {
			return s.misspelt(path) || slices.ContainsFunc(all, func(other mistake) bool { return other.after == nil && other.path == path })
		})
	})
}

// misspelt reports whether an unknown key is probably meant to be this one, or a table
// that this one is in.
func (s *source) misspelt(path string) bool {
	return slices.ContainsFunc(s.unknown, func(u stray) bool {
		meant := oneof.Nearest(u.key, u.table.asked)
		return meant != "" && within(path, join(u.table.path, meant))
	})
}

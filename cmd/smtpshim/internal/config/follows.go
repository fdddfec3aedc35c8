package config

import (
	"slices"

	"smtpshim/rewrite/oneof"
)

// follows reports a mistake at key that may be a consequence of another one. It is
// omitted if one of these keys of the table, or key itself if none is given, has a
// mistake of its own, or if the name of the key or of a table around it is misspelt.
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

// withoutFollowing returns the mistakes that are not consequences of others.
func (s *source) withoutFollowing(all Mistakes) Mistakes {
	return slices.DeleteFunc(slices.Clone(all), func(m Mistake) bool {
		return slices.ContainsFunc(m.after, func(path string) bool {
			return s.misspelt(path) || slices.ContainsFunc(all, func(other Mistake) bool { return other.after == nil && other.path == path })
		})
	})
}

// misspelt reports whether an unknown key is probably a misspelling of this one, or of a
// table around it.
func (s *source) misspelt(path string) bool {
	return slices.ContainsFunc(s.unknown, func(u stray) bool {
		meant := oneof.Nearest(u.key, u.table.asked)
		return meant != "" && within(path, join(u.table.path, meant))
	})
}

package rewrite_test

import (
	"bytes"
	"slices"
	"testing"

	"smtpshim/rewrite"
)

// TestAFilterThatChangesTheTextIsCounted has filters that never call Applied.
func TestAFilterThatChangesTheTextIsCounted(t *testing.T) {
	same := func(_ *rewrite.Text, dst, src []byte) []byte { return append(dst, src...) }
	held := func(more string) func() rewrite.Filter {
		return func() rewrite.Filter {
			var all []byte
			return rewrite.Filter{
				Text: func(_ *rewrite.Text, _, src []byte) []byte {
					all = append(all, src...)
					if i := bytes.LastIndexByte(all, '\n') + 1; len(src) > 1 && i > 0 {
						whole := bytes.Clone(all[:i])
						all = append(all[:0], all[i:]...)
						return whole
					}
					return nil
				},
				End: func(*rewrite.Text) []byte { return append(all, more...) },
			}
		}
	}
	of := func(f rewrite.Filter) func() rewrite.Filter { return func() rewrite.Filter { return f } }
	pass := of(rewrite.Filter{Text: func(_ *rewrite.Text, _, src []byte) []byte { return src }})
	for name, c := range map[string]struct {
		filters []func() rewrite.Filter
		in      string
		want    []string
	}{
		"what passes as it is":              {[]func() rewrite.Filter{pass}, "A: b\r\n\r\nc\r\n", nil},
		"a copy":                            {[]func() rewrite.Filter{of(rewrite.Filter{Text: same})}, "A: b\r\n\r\nc\r\n", nil},
		"text that is held back":            {[]func() rewrite.Filter{held("")}, "A: b\r\n\r\nc\r\nd\r\n", nil},
		"text that is held back, and more":  {[]func() rewrite.Filter{held("e\r\n")}, "A: b\r\n\r\nc\r\nd\r\n", []string{"f0"}},
		"octets that are dropped":           {[]func() rewrite.Filter{of(letters())}, "B: b\r\n\r\ncAc\r\n", []string{"f0"}},
		"none that are dropped":             {[]func() rewrite.Filter{of(letters())}, "B: b\r\n\r\nccc\r\n", nil},
		"text at the end alone":             {[]func() rewrite.Filter{of(rewrite.Filter{End: func(*rewrite.Text) []byte { return []byte("e\r\n") }})}, "B: b\r\n\r\nc\r\n", []string{"f0"}},
		"nothing at the end":                {[]func() rewrite.Filter{of(rewrite.Filter{End: func(*rewrite.Text) []byte { return nil }})}, "B: b\r\n\r\nc\r\n", nil},
		"the second of three":               {[]func() rewrite.Filter{of(rewrite.Filter{Text: same}), of(letters()), held("")}, "B: b\r\n\r\nAc\r\n", []string{"f1"}},
		"what one adds and the next drops":  {[]func() rewrite.Filter{held("A\r\n"), of(letters())}, "B: b\r\n\r\nc\r\n", []string{"f0", "f1"}},
		"changes and Applied, counted once": {[]func() rewrite.Filter{of(double())}, "B: b\r\n\r\nc\r\n", []string{"f0"}},
	} {
		for reading, read := range readings {
			for _, cuts := range [][]int{nil, {3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {6}, {8}} {
				var filters []rewrite.Filter
				for _, f := range c.filters {
					filters = append(filters, f())
				}
				k, m, out := filtered(t, read, c.in+".\r\n", cuts, filters...)
				k.d.MessageEnd(int64(len(out)))
				slices.Sort(k.applied)
				if !slices.Equal(k.applied, c.want) || m.Refusal() != "" {
					t.Errorf("%s, by %s, cut at %v: %q becomes %q; counted %q, want %q; refusal %q", name, reading, cuts, c.in, out, k.applied, c.want, m.Refusal())
				}
				k.d.Close()
			}
		}
	}
}

// TestARuleIsNotCountedForWhatTheEngineDoesNotTake has filters that break a message in its
// last piece.
func TestARuleIsNotCountedForWhatTheEngineDoesNotTake(t *testing.T) {
	for name, f := range map[string]rewrite.Filter{
		"at the end": {End: func(*rewrite.Text) []byte { return []byte("bare\n") }},
		"in text":    {Text: func(_ *rewrite.Text, dst, src []byte) []byte { return append(append(dst, src...), 0) }},
	} {
		k, m, out := filtered(t, byDATA, "A: b\r\n\r\nc\r\n.\r\n", nil, f)
		k.d.MessageEnd(int64(len(out)))
		if len(k.applied) > 0 || len(k.broke) == 0 || m.Refusal() == "" {
			t.Errorf("%s: applied %q, broke %q, refusal %q", name, k.applied, k.broke, m.Refusal())
		}
		k.d.Close()
	}
}

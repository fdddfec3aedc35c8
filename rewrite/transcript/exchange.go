package transcript

import "slices"

// Exchange sets one command or reply against what was delivered of it, as Diff does.
// Each line that differs names who changed it: of returns that for a line of a reply,
// which includes its code, and rules is the answer for all others.
func Exchange(side Side, said, delivered []string, rules string, of func(line string, added bool) string) []Line {
	if slices.Equal(said, delivered) {
		lines := make([]Line, 0, len(said))
		for _, text := range said {
			lines = append(lines, Line{Side: side, Mark: Unchanged, Text: text})
		}
		return lines
	}
	lines := Diff(side, said, delivered, rules)
	if side == Server && len(delivered) > 0 && len(said) > 0 {
		nameCauses(lines, rules, of)
	}
	return lines
}

// nameCauses says of each line of a reply that was changed on whose account.
// Where a line is another one's neighbour now, and so has another separator, it
// is what changed last in the reply.
func nameCauses(lines []Line, rules string, of func(line string, added bool) string) {
	last := rules
	var separated []*Line
	for i := range lines {
		switch l := &lines[i]; {
		case l.Mark == Unchanged:
		case slices.ContainsFunc(lines, func(o Line) bool { return o.Mark != l.Mark && separatorsDiffer(o.Text, l.Text) }):
			separated = append(separated, l)
		default:
			l.Rule = of(l.Text, l.Mark == Added)
			last = l.Rule
		}
	}
	for _, l := range separated {
		l.Rule = last
	}
}

// separatorsDiffer says that two lines of replies differ in nothing but what stands
// between code and text.
func separatorsDiffer(a, b string) bool {
	return len(a) > 4 && len(a) == len(b) && a[:3] == b[:3] && a[4:] == b[4:] && a[3] != b[3]
}

package transcript

import "slices"

// Exchange compares the lines of one command or reply, said by side, with the lines
// delivered to the other side. Like Diff, it returns the lines of both with marks.
//
// If side is Client, or said or delivered is empty, the Rule of each Removed or Added
// line is rules. Otherwise the function of returns it: line is the text of the line
// with its code, and added is true if the line is Added. If a Removed and an Added line
// differ only in the separator after the code, of is not called for them. Their Rule is
// then the last one that of returned, or rules if of was not called.
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

// nameCauses names the cause of each changed line of a reply. If only the separator of a
// line has changed, because it has another neighbour, the cause is that of the last
// change in the reply.
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

// separatorsDiffer reports whether two lines of replies differ only in the separator
// between code and text.
func separatorsDiffer(a, b string) bool {
	return len(a) > 4 && len(a) == len(b) && a[:3] == b[:3] && a[4:] == b[4:] && a[3] != b[3]
}

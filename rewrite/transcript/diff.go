package transcript

import (
	"fmt"
	"slices"
	"strings"
)

// Diff compares the lines said by side with the lines delivered to the other side, and
// returns all of them with marks. The lines of a longest common subsequence are
// Unchanged. Other lines of said are Removed, and other lines of delivered are Added;
// both have rule as their Rule. Between two Unchanged lines, the Removed lines come
// before the Added lines. Time and memory grow with the product of the numbers of
// lines, not counting equal lines at either end.
func Diff(side Side, said, delivered []string, rule string) []Line {
	var lines []Line
	for _, s := range align(said, delivered) {
		l := Line{Side: side, Mark: s.mark, Text: s.text}
		if s.mark != Unchanged {
			l.Rule = rule
		}
		lines = append(lines, l)
	}
	return lines
}

// Compare returns "" if the dialogues want and got are the same. Otherwise it returns a
// description of their differences for people, with up to three lines around each. It
// ignores empty lines, and the Rule of lines.
func Compare(want, got []Line) string {
	steps := align(compared(want), compared(got))
	near := make([]bool, len(steps))
	same := true
	for i, s := range steps {
		if s.mark != Unchanged {
			same = false
			for j := max(0, i-3); j < min(len(steps), i+4); j++ {
				near[j] = true
			}
		}
	}
	if same {
		return ""
	}
	var b strings.Builder
	number := 0 // of the line in want
	for i, s := range steps {
		if s.mark != Added {
			number++
		}
		switch {
		case !near[i]:
			if i == 0 || near[i-1] {
				fmt.Fprintln(&b, "     ...")
			}
		case s.mark == Removed:
			fmt.Fprintf(&b, "want %3d  %s\n", number, s.text)
		case s.mark == Added:
			fmt.Fprintf(&b, "got       %s\n", s.text)
		default:
			fmt.Fprintf(&b, "     %3d  %s\n", number, s.text)
		}
	}
	return b.String()
}

// compared returns the lines of a dialogue that Compare looks at.
func compared(lines []Line) []string {
	var texts []string
	for _, l := range lines {
		if s := l.String(); s != "" {
			texts = append(texts, s)
		}
	}
	return texts
}

// A step is one line of an alignment of two texts.
type step struct {
	mark Mark
	text string
}

// align returns a longest common subsequence of a and b. Between its lines stand the
// lines of a alone, Removed, and then those of b alone, Added.
func align(a, b []string) []step {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	steps := mark(nil, Unchanged, a[:head])
	steps = append(steps, alignAll(a[head:len(a)-tail], b[head:len(b)-tail])...)
	return mark(steps, Unchanged, a[len(a)-tail:])
}

func mark(steps []step, m Mark, lines []string) []step {
	for _, text := range lines {
		steps = append(steps, step{m, text})
	}
	return steps
}

func alignAll(a, b []string) []step {
	// common[i][j] is the length of the subsequence of a[i:] and b[j:].
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var steps []step
	i, j := 0, 0 // steps has everything before them
	for x, y := 0, 0; ; {
		switch {
		case x == len(a) || y == len(b):
			return mark(mark(steps, Removed, a[i:]), Added, b[j:])
		case a[x] == b[y]:
			steps = mark(mark(steps, Removed, a[i:x]), Added, b[j:y])
			steps = append(steps, step{Unchanged, a[x]})
			x, y = x+1, y+1
			i, j = x, y
		case common[x+1][y] >= common[x][y+1]:
			x++
		default:
			y++
		}
	}
}

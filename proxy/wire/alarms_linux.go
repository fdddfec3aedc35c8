//go:build !portable

package wire

import (
	"container/heap"
	"time"
)

// alarms is a heap of the directions that have deadlines, the earliest first.
type alarms []*direction

// set sets the deadline of a direction, and reports whether it is the first now.
func (a *alarms) set(w *direction, at time.Duration) (first bool) {
	w.at = at
	if w.place > 0 {
		heap.Fix(a, w.place-1)
	} else {
		heap.Push(a, w)
	}
	return (*a)[0] == w
}

// remove removes the deadline of a direction, if it has one.
func (a *alarms) remove(w *direction) {
	w.at = 0
	if w.place > 0 {
		heap.Remove(a, w.place-1)
	}
}

// pop removes the first from the heap. The direction keeps the time of its deadline.
func (a *alarms) pop() *direction { return heap.Pop(a).(*direction) }

// wait returns the milliseconds until the first deadline, rounded up; -1 if there is none.
func (a alarms) wait(now time.Duration) int {
	if len(a) == 0 {
		return -1
	}
	return int((max(a[0].at-now, 0) + time.Millisecond - 1) / time.Millisecond)
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at < a[j].at }

func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}

func (a *alarms) Push(w any) {
	*a = append(*a, w.(*direction))
	w.(*direction).place = len(*a)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	w := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	w.place = 0
	return w
}

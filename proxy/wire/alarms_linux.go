//go:build !portable

package wire

import (
	"container/heap"
	"time"
)

// alarms are the ways of sockets that have deadlines, the earliest first.
type alarms []*way

// set gives a way a deadline, and says whether it is the first now.
func (a *alarms) set(w *way, at time.Duration) (first bool) {
	w.at = at
	if w.place > 0 {
		heap.Fix(a, w.place-1)
	} else {
		heap.Push(a, w)
	}
	return (*a)[0] == w
}

// remove takes its deadline away, if it has one.
func (a *alarms) remove(w *way) {
	w.at = 0
	if w.place > 0 {
		heap.Remove(a, w.place-1)
	}
}

// pop takes the first away, which keeps its deadline.
func (a *alarms) pop() *way { return heap.Pop(a).(*way) }

// wait is how many milliseconds there are until the first, at least; -1: there is none.
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
	*a = append(*a, w.(*way))
	w.(*way).place = len(*a)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	w := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	w.place = 0
	return w
}

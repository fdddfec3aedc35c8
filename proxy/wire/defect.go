package wire

import "runtime/debug"

// A panic costs the session it happens in, and no other: contain is the one place
// that recovers. Whatever begins a goroutine, a coroutine or a callback of a loop
// calls it. What the runtime itself gives up on, such as a data race on a map or a
// stack without an end, ends the process all the same.

// A defect is a panic that was contained.
type Defect struct {
	Value any
	Stack string // where it happened
}

// contain calls f. It returns the panic of f; nil if there was none.
func Contain(f func()) (d *Defect) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Defect: // one from another goroutine of the session
			d = r
		default:
			d = &Defect{r, string(debug.Stack())}
		}
	}()
	f()
	return nil
}

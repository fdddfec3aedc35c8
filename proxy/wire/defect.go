package wire

import "runtime/debug"

// A panic ends the session that it happens in, and no other. Contain is the only function
// that recovers: every goroutine, every Runner and every callback of a loop runs under it.
// What the runtime itself does not survive, such as concurrent writes to a map or a stack
// overflow, still ends the process.

// A Defect is a panic that was contained.
type Defect struct {
	Value any
	Stack string // where it happened
}

// Contain calls f. It returns the panic of f; nil if there was none. A panic with a
// *Defect is one that another goroutine of the session has met: that is returned.
func Contain(f func()) (d *Defect) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Defect:
			d = r
		default:
			d = &Defect{r, string(debug.Stack())}
		}
	}()
	f()
	return nil
}

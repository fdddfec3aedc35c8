package wire

import "runtime/debug"

// A panic ends the session that it happens in, and no other. Contain is the only function
// that recovers: every goroutine, every Runner and every callback of a loop runs under it.
// What the runtime itself does not survive, such as concurrent writes to a map or a stack
// overflow, still ends the process.

// A Defect is a panic that Contain has recovered.
type Defect struct {
	Value any
	Stack string // of the goroutine that panicked
}

// Contain calls f and recovers its panic. It returns nil if f did not panic, and
// otherwise a Defect with the panic's value and stack. If the value is a *Defect
// already, because f repeats a panic that was contained on another goroutine, Contain
// returns that Defect.
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

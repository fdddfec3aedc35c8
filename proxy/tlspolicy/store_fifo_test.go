//go:build unix

package tlspolicy

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFileThatTakesItsTimeIsLeftToItself has a pipe in the place of a certificate:
// whoever opens it waits for somebody to write.
func TestAFileThatTakesItsTimeIsLeftToItself(t *testing.T) {
	first := (*signed)(nil).issue(name, newECDSA())
	source := first.source(t)
	st, err := NewStore(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(source.Certificate), unix.Mkfifo(source.Certificate, 0o600)); err != nil {
		t.Fatal(err)
	}
	st.next.Store(0)
	if !st.Stale() {
		t.Fatal("it is not stale")
	}
	st.Refresh() // comes back all the same
	st.next.Store(0)
	if st.Stale() {
		t.Error("a second look would begin before the first has ended")
	}
	if got := st.current()[0].leaf; !got.Equal(first.cert) {
		t.Error("the certificate read before is not in use")
	}
	end, err := os.OpenFile(source.Certificate, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	end.Close()
	for late := time.Now().Add(20 * time.Second); st.looking.Load(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("the look does not end")
		}
	}
	if st.current()[0].bad == "" {
		t.Error("an empty certificate is taken")
	}
}

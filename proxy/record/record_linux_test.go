package record_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/record"
	"smtpshim/rewrite/transcript"
)

func TestAFullDiskLeavesNoHalfFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skip("no small disk can be made without the right to mount one: ", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	w, told := started(t)
	r := &record.Route{Name: "in", Dir: dir, Octets: 1 << 20}
	long := transcript.Line{Side: 'C', Mark: ':', Text: strings.Repeat("x", 1000)}
	session(w, r, "1", time.Now(), proxy.Ending{}, slices.Repeat([]transcript.Line{long}, 25)...)
	if err := <-told; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("told %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("%q are left of what did not fit", got)
	}
	session(w, r, "2", time.Now(), proxy.Ending{}, noop)
	if err := <-told; err != nil {
		t.Errorf("and then %v", err)
	}
}

package rewrite

import (
	"bytes"
	"testing"
)

func TestALineThatWasToldStaysAsItWas(t *testing.T) {
	tr := &tracer{}
	var told, want []string
	for n := range 3 * textsAtOnce {
		line := bytes.Repeat([]byte{byte('a' + n%26)}, n%(textsAtOnce+100))
		want = append(want, string(line))
		told = append(told, tr.keep(line))
		for i := range line {
			line[i] = '-' // as a buffer is used again
		}
	}
	for n := range want {
		if told[n] != want[n] {
			t.Fatalf("line %d is %q now, want %q", n, told[n], want[n])
		}
	}
}

func TestShortLinesShareTheirMemory(t *testing.T) {
	tr, line := &tracer{}, []byte("250 ok")
	tr.keep(line)
	if n := testing.AllocsPerRun(textsAtOnce/len(line)/2, func() { tr.keep(line) }); n > 0 {
		t.Errorf("%v allocations for a short line", n)
	}
}

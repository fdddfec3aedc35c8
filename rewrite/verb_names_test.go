package rewrite

import "testing"

func TestEveryVerbIsFoundByItsName(t *testing.T) {
	for v := VerbEHLO; v < verbs; v++ {
		if got := ParseVerb([]byte(v.String())); got != v {
			t.Errorf("%v is taken for %v", v, got)
		}
	}
}

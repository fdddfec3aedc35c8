package heal

import (
	"slices"
	"testing"

	"smtpshim/rewrite"
)

func TestEverySignIsOfASet(t *testing.T) {
	for name := range productSigns() {
		if !slices.ContainsFunc(Sets(), func(s rewrite.Set) bool { return s.Name == name }) {
			t.Errorf("there is a sign of %s, and no such set", name)
		}
	}
}

// Package words formats counts, durations and lists of networks for messages.
package words

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Plural returns n followed by word, with an s unless n is 1, as in "2 rules".
func Plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// Brief returns d as text, without minutes and seconds at its end that are 0, such as
// "1h" in place of "1h0m0s".
func Brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Networks returns networks as text, with ", " between them.
func Networks(networks []netip.Prefix) string {
	list := make([]string, len(networks))
	for i, n := range networks {
		list[i] = n.String()
	}
	return strings.Join(list, ", ")
}

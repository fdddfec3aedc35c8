// Package words formats counts, durations and lists of networks for messages.
package words

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Plural returns a count and a word, in the plural unless the count is 1.
func Plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// Brief returns a duration as text, without the zeros at its end.
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

// Networks returns networks as a list.
func Networks(networks []netip.Prefix) string {
	list := make([]string, len(networks))
	for i, n := range networks {
		list[i] = n.String()
	}
	return strings.Join(list, ", ")
}

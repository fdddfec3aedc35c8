package proxy

import (
	"crypto/rand"
	"time"
)

// stamp is the [rewrite.Policy.Stamp] of every route.
func stamp() (date, word string) {
	return time.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700"), rand.Text()
}

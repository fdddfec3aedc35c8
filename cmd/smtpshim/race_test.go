//go:build race

package main

// racing says that the race detector looks on, which makes everything several times as
// slow. What it finds it finds in less, too.
const racing = true

//go:build linux

package main

import (
	"fmt"
	"strings"
)

// A workload is one way to use a server, and what is measured of it.
type workload struct {
	name     string
	about    string
	kind     kind
	over     string // the listener it comes in by
	sessions int    // at a time; for idle, as many as -idle says if that is fewer
	messages int    // of one session, in which the time may end before
	text     text
	size     int  // of a message, in octets
	grouped  bool // MAIL, RCPT and DATA leave in one write
	chunked  bool // BDAT in place of DATA
	// direct is the workload that is run without a proxy for comparison, if not
	// this one; what smtpshim does here is also set against what it does there.
	direct string
}

// A kind is what is measured.
type kind int

const (
	rates   kind = iota // messages, each an operation
	waiting             // round trips of single commands
	holding             // memory of idle sessions
)

// Listeners: of the sink and, as far as they have them, of the proxies.
const (
	plain         = "plain"
	tlsECDSA      = "tls-ecdsa" // implicit TLS with a P-256 key
	tlsRSA        = "tls-rsa"   // implicit TLS with an RSA key of 2048 bits
	starttlsECDSA = "starttls-ecdsa"
)

var listeners = []string{plain, tlsECDSA, tlsRSA, starttlsECDSA}

const (
	kib = 1 << 10
	mib = 1 << 20
)

var workloads = []workload{
	{name: "short10", about: "sessions with one message of 1 KiB, 10 at a time", over: plain, sessions: 10, messages: 1, size: kib},
	{name: "short50", about: "sessions with one message of 1 KiB, 50 at a time", over: plain, sessions: 50, messages: 1, size: kib},
	{name: "multi", about: "messages of 1 KiB, 100 a session, one command at a time", over: plain, sessions: 10, messages: 100, size: kib},
	{name: "pipe", about: "the same, with MAIL, RCPT and DATA in one write", over: plain, sessions: 10, messages: 100, size: kib, grouped: true},
	{name: "large10", about: "10 MiB of base64", over: plain, sessions: 1, messages: 20, size: 10 * mib},
	{name: "large50", about: "50 MiB of base64", over: plain, sessions: 1, messages: 20, size: 50 * mib},
	{name: "text50", about: "50 MiB of prose, with its full stops", over: plain, sessions: 1, messages: 20, size: 50 * mib, text: prose},
	{name: "mend50", about: "the same, with bare LFs to be mended", over: plain, sessions: 1, messages: 20, size: 50 * mib, text: strayProse, direct: "text50"},
	{name: "bdat50", about: "50 MiB of base64 by BDAT", over: plain, sessions: 1, messages: 20, size: 50 * mib, chunked: true},
	{name: "latency", about: "one command after the other", kind: waiting, over: plain, sessions: 1},
	{name: "tls-ecdsa", about: "short10 over TLS, P-256 key", over: tlsECDSA, sessions: 10, messages: 1, size: kib},
	{name: "tls-rsa", about: "short10 over TLS, RSA-2048 key", over: tlsRSA, sessions: 10, messages: 1, size: kib},
	{name: "starttls-ecdsa", about: "short10 after STARTTLS, P-256 key", over: starttlsECDSA, sessions: 10, messages: 1, size: kib},
	{name: "tls-large50", about: "large50 over TLS", over: tlsECDSA, sessions: 1, messages: 20, size: 50 * mib},
	{name: "idle", about: "sessions that do nothing after EHLO", kind: holding, over: plain, sessions: 5000},
	{name: "idle-tls", about: "the same, over TLS", kind: holding, over: tlsECDSA, sessions: 2000},
}

func findWorkload(name string) (*workload, error) {
	for i := range workloads {
		if workloads[i].name == name {
			return &workloads[i], nil
		}
	}
	return nil, fmt.Errorf("no workload %q; there are %s", name, strings.Join(workloadNames(), ", "))
}

// workloadNames is all of them, in the order of the table.
func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// Package probe examines SMTP clients and servers. It reports where they differ from RFC
// 5321 and its extensions, or do something that other programs cannot handle.
//
// A [Finding] is one such difference: what was said on the wire, what that means, its
// entry in the catalogue of package heal, and the rule or setting that heals it.
package probe

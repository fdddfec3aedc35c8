// Package probe examines SMTP peers and tells what they do otherwise than RFC 5321 and
// its extensions have it, or than other peers can live with.
//
// A [Finding] is one such thing: what was said on the wire, what that means, which entry
// of the catalogue of package heal it is, and which rule or setting heals it.
package probe

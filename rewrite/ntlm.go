package rewrite

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
)

const (
	ntlmSignature = "NTLMSSP\x00"
	ntlmBase64    = "TlRMTVNTUA" // how every NTLM message begins in base64
	ntlmSeal      = 0x20         // NTLMSSP_NEGOTIATE_SEAL (MS-NLMP, 2.2.2.5)
	ntlmFlagsAt   = 60           // of the flags in a type 3 message (MS-NLMP, 2.2.1.3)
)

// sealing reads a SASL line: whether it is the client's last message of NTLM
// (type 3), and whether that asks for sealing.
func sealing(line []byte) (seals, isLast bool) {
	if !bytes.HasPrefix(line, []byte(ntlmBase64)) {
		return false, false
	}
	b, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil || len(b) < 12 || string(b[:8]) != ntlmSignature || binary.LittleEndian.Uint32(b[8:]) != 3 {
		return false, false
	}
	return len(b) >= ntlmFlagsAt+4 && binary.LittleEndian.Uint32(b[ntlmFlagsAt:])&ntlmSeal != 0, true
}

// mayMask says whether a SASL exchange can end in a stream that we cannot read:
// NTLM that seals, as Exchange's "encryption" does (KB Q245565), and the
// mechanisms with security layers (RFC 4954, 4; RFC 4752, 3.3; RFC 2831, 2.3).
func mayMask(command []byte) bool {
	if ParseVerb(command) == VerbXAUTH {
		return true
	}
	mechanism, _, _ := strings.Cut(string(Argument(command)), " ")
	return slices.Contains([]string{"NTLM", "NTLMSSP", "GSSAPI", "GSS-SPNEGO", "DIGEST-MD5"}, strings.ToUpper(mechanism))
}

// masked judges the client's first octets after such an exchange. A stream whose
// sealing was agreed is readable only if it begins with a command that we know;
// any other must at least not be text, so that nobody who merely sends a wrong
// command gets past the rules.
func masked(octets []byte, sealed bool) bool {
	word, _, _ := bytes.Cut(octets, crlf)
	for v := VerbEHLO; v < verbs; v++ {
		if len(word) >= 4 && strings.HasPrefix(v.String(), strings.ToUpper(string(word[:4]))) {
			return false
		}
	}
	if sealed {
		return true
	}
	return bytes.ContainsFunc(octets, func(r rune) bool { return r < ' ' && r != '\r' && r != '\n' && r != '\t' || r > '~' })
}

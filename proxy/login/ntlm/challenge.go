package ntlm

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// An Exchange is one login of a client. Its challenge is random and accepts one answer,
// so an answer that was recorded in another exchange fails.
type Exchange struct {
	negotiate []byte // the client's first message
	message   []byte // our challenge message
	flags     uint32 // agreed flags
	server    [8]byte
	answered  bool
}

const (
	negotiateOctets  = 16 // length of the shortest NEGOTIATE_MESSAGE: signature, type, flags
	challengeOctets  = 48 // length of a CHALLENGE_MESSAGE without version and payload
	versionOctets    = 8
	challengeAt      = 24
	challengeInfoAt  = 40
	challengeNameAt  = 12
	challengeFlagsAt = 20
)

// Begin parses negotiate, the client's NEGOTIATE_MESSAGE, and returns an exchange with a
// random challenge. host is our host name; clients see its first label as the name of the
// server and of its domain. now is the time that the challenge tells clients. The error
// wraps [ErrMalformed].
func Begin(negotiate []byte, host string, now time.Time) (*Exchange, error) {
	return begin(negotiate, host, now, nil)
}

// begin is Begin with the given challenge, or a random one if challenge is nil.
func begin(negotiate []byte, host string, now time.Time, challenge []byte) (*Exchange, error) {
	if err := checkHeader(negotiate, kindNegotiate, negotiateOctets); err != nil {
		return nil, err
	}
	x := &Exchange{
		negotiate: append([]byte(nil), negotiate...),
		flags:     agree(binary.LittleEndian.Uint32(negotiate[12:])),
	}
	if challenge == nil {
		rand.Read(x.server[:]) // never fails
	} else {
		copy(x.server[:], challenge)
	}
	x.message = x.challengeMessage(host, now)
	return x, nil
}

// agree chooses among the flags that a client offers ([MS-NLMP] 3.2.5.1.1).
//
// Sealing is never agreed to, nor is signing with clients without extended session
// security: Exchange 5.5 would continue in a stream without lines (KB Q245565). Clients
// with it get signing, key exchange and a version. None of them signs SMTP, and .NET on
// Linux refuses a challenge without these flags (dotnet/runtime,
// NegotiateAuthenticationPal.ManagedNtlm.cs, s_requiredFlags). LM_KEY, which weakens the
// key, is not agreed to.
func agree(offered uint32) uint32 {
	flags := uint32(flagNTLM)
	if offered&flagUnicode != 0 {
		flags |= flagUnicode
	} else {
		flags |= flagOEM
	}
	flags |= offered & (flagAlwaysSign | flagExtended | flag128 | flag56 | flagRequestTarget)
	if offered&flagRequestTarget != 0 {
		flags |= flagTargetServer
	}
	if offered&flagExtended != 0 {
		flags |= offered & (flagSign | flagKeyExchange | flagVersion)
	}
	// curl does not offer target information, and answers with NTLMv2 only if it gets
	// some. Older clients get a message as short as that of Exim.
	if offered&(flagExtended|flagTargetInfo) != 0 {
		flags |= flagTargetInfo
	}
	return flags
}

func (x *Exchange) challengeMessage(host string, now time.Time) []byte {
	size := challengeOctets
	if x.flags&flagVersion != 0 {
		size += versionOctets
	}
	m := make([]byte, size)
	copy(m, signature)
	binary.LittleEndian.PutUint32(m[8:], kindChallenge)
	binary.LittleEndian.PutUint32(m[challengeFlagsAt:], x.flags)
	copy(m[challengeAt:], x.server[:])
	if x.flags&flagVersion != 0 {
		const revision = 15 // NTLMSSP_REVISION_W2K3, the only one
		m[size-1] = revision
	}
	computer, _, _ := strings.Cut(host, ".")
	const longest = 15 // octets of a NetBIOS name
	computer = upper(computer[:min(len(computer), longest)])
	var name, info []byte
	if x.flags&flagRequestTarget != 0 {
		if name = []byte(computer); x.flags&flagUnicode != 0 {
			name = toUnicode(computer)
		}
	}
	if x.flags&flagTargetInfo != 0 {
		info = appendAV(info, avDomain, toUnicode(computer)) // as a server outside of a domain
		info = appendAV(info, avComputer, toUnicode(computer))
		info = appendAV(info, avDNSDomain, toUnicode(host))
		info = appendAV(info, avDNSComputer, toUnicode(host))
		info = appendAV(info, avTimestamp, binary.LittleEndian.AppendUint64(nil, fileTime(now)))
		info = appendAV(info, avEnd, nil)
	}
	m = putField(m, challengeNameAt, name)
	return putField(m, challengeInfoAt, info)
}

// fileTime returns the time in units of 100 ns since 1601 ([MS-DTYP] 2.3.3).
func fileTime(t time.Time) uint64 {
	const from1601To1970 = 116444736000000000
	return uint64(t.UnixNano()/100 + from1601To1970)
}

// Challenge returns the CHALLENGE_MESSAGE to send to the client.
func (x *Exchange) Challenge() []byte { return x.message }

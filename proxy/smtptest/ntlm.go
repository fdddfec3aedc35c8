package smtptest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The forms of a command that begins NTLM. AUTH is attested with the first message on its
// line (KB Q262945), and without ([MS-SMTPNTLM] 4.1). Of XAUTH only the name is attested
// (KB Q195201), so every form of it is assumed.
const (
	AuthInitial  = "AUTH NTLM {type-1}"
	AuthPrompted = "AUTH NTLM"

	XauthInitial  = "XAUTH NTLM {type-1}"    // like AUTH of Exchange 5.5
	XauthPrompted = "XAUTH NTLM"             // like AUTH in [MS-SMTPNTLM]
	XauthBare     = "XAUTH {type-1}"         // as if XAUTH always meant NTLM
	XauthEquals   = "XAUTH=NTLM {type-1}"    // like AUTH=LOGIN in old EHLO replies
	XauthNTLMSSP  = "XAUTH NTLMSSP {type-1}" // by the name of NTLM's security provider
)

// XauthForms returns the forms of the command XAUTH: the constants from XauthInitial to
// XauthNTLMSSP.
func XauthForms() []string {
	return []string{XauthInitial, XauthPrompted, XauthBare, XauthEquals, XauthNTLMSSP}
}

// XauthSpellings returns the ways in which a server may offer XAUTH in its EHLO reply.
// Each is a list of keywords for [Server.WithXauth]. None is attested: KB Q195201 only
// says that XAUTH is listed.
func XauthSpellings() [][]string {
	return [][]string{
		{"XAUTH NTLM"},
		{"XAUTH=NTLM"},
		{"XAUTH"},
		{"XAUTH NTLM", "XAUTH=NTLM"},
		{"XAUTH LOGIN NTLM"},
	}
}

const (
	ntlmSignature = "NTLMSSP\x00"
	ntlmHeader1   = 32 // octets of a type-1 message without payload
	ntlmHeader2   = 48
	ntlmHeader3   = 64

	// As in the messages of KB Q262945, decoded; both have SEAL.
	ntlmFlags1 = 0x400092b7
	ntlmFlags3 = 0x400182b5
	ntlmSeal   = 0x20
)

// ntlmChallenge is the same in each type-2 message, so that a dialogue played twice is
// the same.
var ntlmChallenge = [8]byte{'0', '1', '2', '3', '4', '5', '6', '7'}

func ntlmMessage(size int, kind uint32) []byte {
	m := make([]byte, size)
	copy(m, ntlmSignature)
	binary.LittleEndian.PutUint32(m[8:], kind)
	return m
}

func ntlmFlags(flags uint32, seal bool) uint32 {
	if !seal {
		return flags &^ ntlmSeal
	}
	return flags
}

// NTLM1 returns the client's first NTLM message, a NEGOTIATE_MESSAGE, in base64. If
// seal is true, a flag in the message asks for a sealed stream.
func NTLM1(seal bool) string {
	m := ntlmMessage(ntlmHeader1, 1)
	binary.LittleEndian.PutUint32(m[12:], ntlmFlags(ntlmFlags1, seal))
	return base64.StdEncoding.EncodeToString(m)
}

// NTLM2 returns the server's answer to NTLM1(true), a CHALLENGE_MESSAGE, in base64. The
// challenge is always the same.
func NTLM2() string { return ntlmType2(ntlmFlags1) }

// ntlmType2 returns a message with the server's flags that the client has too.
func ntlmType2(client uint32) string {
	const domain = 0x10000 // sent by the server only: its name is that of a domain
	m := ntlmMessage(ntlmHeader2, 2)
	binary.LittleEndian.PutUint32(m[20:], ntlmFlags3&(client|domain))
	copy(m[24:], ntlmChallenge[:])
	return base64.StdEncoding.EncodeToString(m)
}

// NTLM3 returns the client's answer to the server's CHALLENGE_MESSAGE type2, both in
// base64. The answer is NTLMv1, for the user "exchange" and the given password. If seal
// is true, a flag in the answer asks for a sealed stream: bit 0x20 of the flags at
// octet 60. NTLM3 returns an error if type2 is not a CHALLENGE_MESSAGE.
func NTLM3(type2, password string, seal bool) (string, error) {
	challenge, err := ntlmParse(type2, 2, ntlmHeader2)
	if err != nil {
		return "", err
	}
	m := ntlmMessage(ntlmHeader3, 3)
	for _, field := range []struct {
		at   int
		text []byte
	}{{20, ntlmAnswer(password, challenge[24:32])}, {36, unicode("exchange")}} {
		binary.LittleEndian.PutUint16(m[field.at:], uint16(len(field.text)))
		binary.LittleEndian.PutUint16(m[field.at+2:], uint16(len(field.text)))
		binary.LittleEndian.PutUint32(m[field.at+4:], uint32(len(m)))
		m = append(m, field.text...)
	}
	binary.LittleEndian.PutUint32(m[60:], ntlmFlags(ntlmFlags3, seal))
	return base64.StdEncoding.EncodeToString(m), nil
}

// ntlmCheck checks a third message.
func ntlmCheck(type3, password string) (right, seal bool, err error) {
	m, err := ntlmParse(type3, 3, ntlmHeader3)
	if err != nil {
		return false, false, err
	}
	seal = binary.LittleEndian.Uint32(m[60:])&ntlmSeal != 0
	return ntlmRight(password, ntlmChallenge[:], ntlmField(m, 20), ntlmField(m, 36), ntlmField(m, 28)), seal, nil
}

// ntlmField returns the payload of the field at offset at; nil if it is empty or the
// field is invalid.
func ntlmField(m []byte, at int) []byte {
	size, begin := uint64(binary.LittleEndian.Uint16(m[at:])), uint64(binary.LittleEndian.Uint32(m[at+4:]))
	if begin+size > uint64(len(m)) {
		return nil
	}
	return m[begin : begin+size]
}

func ntlmParse(text string, kind uint32, size int) ([]byte, error) {
	m, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("ntlm type-%d message: %w", kind, err)
	}
	if len(m) < size || !bytes.HasPrefix(m, []byte(ntlmSignature)) {
		return nil, fmt.Errorf("ntlm type-%d message: no NTLMSSP message of %d octets or more", kind, size)
	}
	if got := binary.LittleEndian.Uint32(m[8:]); got != kind {
		return nil, fmt.Errorf("ntlm message of type %d where type %d is due", got, kind)
	}
	return m, nil
}

// A sealed imitates the stream that IMS encrypts with the session key after 235 (KB
// Q245565: in blocks). It does not imitate the cipher but its effect on a program in
// between: the octets are not lines. Each write is one block: its length in four octets,
// and the masked octets.
type sealed struct {
	net.Conn
	rest []byte // unread octets of the last block
}

const (
	sealMask = 0xa5
	maxBlock = 1 << 20 // octets
)

func mask(octets []byte) []byte {
	out := make([]byte, len(octets))
	for i, c := range octets {
		out[i] = c ^ sealMask
	}
	return out
}

func (s *sealed) Write(octets []byte) (int, error) {
	for n := 0; n < len(octets); {
		part := octets[n:min(len(octets), n+maxBlock)]
		block := binary.BigEndian.AppendUint32(nil, uint32(len(part)))
		if _, err := s.Conn.Write(append(block, mask(part)...)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(octets), nil
}

func (s *sealed) Read(octets []byte) (int, error) {
	if len(s.rest) == 0 {
		var size [4]byte
		if _, err := io.ReadFull(s.Conn, size[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n == 0 || n > maxBlock {
			return 0, errors.New("not a sealed block")
		}
		block := make([]byte, n)
		if _, err := io.ReadFull(s.Conn, block); err != nil {
			return 0, err
		}
		s.rest = mask(block)
	}
	n := copy(octets, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

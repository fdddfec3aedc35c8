package smtptest

import (
	"crypto/des" // part of NTLM
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is made of it
)

// unicode returns text in UTF-16, little endian.
func unicode(text string) (octets []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		octets = binary.LittleEndian.AppendUint16(octets, u)
	}
	return octets
}

func ntlmKey(password string) []byte {
	h := md4.New()
	h.Write(unicode(password))
	return h.Sum(nil)
}

// ntlmAnswer returns the NT response of NTLMv1, 24 octets ([MS-NLMP] 3.3.1).
func ntlmAnswer(password string, challenge []byte) []byte {
	key := append(ntlmKey(password), 0, 0, 0, 0, 0)
	out := make([]byte, 24)
	for i := range 3 {
		bits := append([]byte{0}, key[7*i:7*i+7]...)
		n, spread := binary.BigEndian.Uint64(bits), make([]byte, 8)
		for j := range spread { // seven bits each, and one for parity
			spread[7-j] = byte(n>>(7*j)) << 1
		}
		block, _ := des.NewCipher(spread) // the size is right
		block.Encrypt(out[8*i:], challenge)
	}
	return out
}

// ntlmRight reports whether a response was made with the password, by NTLMv1 or NTLMv2
// ([MS-NLMP] 3.3). user and domain are in UTF-16.
func ntlmRight(password string, challenge, response, user, domain []byte) bool {
	if len(response) <= 24 {
		return hmac.Equal(response, ntlmAnswer(password, challenge))
	}
	name := make([]uint16, len(user)/2)
	for i := range name {
		name[i] = binary.LittleEndian.Uint16(user[2*i:])
	}
	sum := func(key []byte, data ...[]byte) []byte {
		mac := hmac.New(md5.New, key)
		for _, d := range data {
			mac.Write(d)
		}
		return mac.Sum(nil)
	}
	key := sum(ntlmKey(password), unicode(strings.ToUpper(string(utf16.Decode(name)))), domain)
	return hmac.Equal(response[:16], sum(key, challenge, response[16:]))
}

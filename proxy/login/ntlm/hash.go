package ntlm

import (
	"crypto/des" // part of NTLM
	"crypto/hmac"
	"crypto/md5"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is made of it
)

// ntowf1 returns NTOWFv1 of [MS-NLMP] 3.3.1, the key that a Windows domain stores.
func ntowf1(password string) []byte { return md4Sum(toUnicode(password)) }

// ntowf2 returns NTOWFv2 of [MS-NLMP] 3.3.2.
func ntowf2(ntowf1 []byte, user, domain string) []byte {
	return hmacMD5(ntowf1, toUnicode(upper(user)+domain))
}

// desl returns DESL of [MS-NLMP] 6: 24 octets, from a key of 16 octets and data of 8.
func desl(key, data []byte) []byte {
	padded := make([]byte, 21)
	copy(padded, key)
	out := make([]byte, 24)
	for i := range 3 {
		block, _ := des.NewCipher(parity(padded[7*i:])) // the size is right
		block.Encrypt(out[8*i:], data)
	}
	return out
}

// parity spreads the 56 bits of a key over 8 octets. It leaves the parity bits, which DES
// ignores, at 0.
func parity(key []byte) []byte {
	return []byte{
		key[0],
		key[0]<<7 | key[1]>>1,
		key[1]<<6 | key[2]>>2,
		key[2]<<5 | key[3]>>3,
		key[3]<<4 | key[4]>>4,
		key[4]<<3 | key[5]>>5,
		key[5]<<2 | key[6]>>6,
		key[6] << 1,
	}
}

func hmacMD5(key []byte, data ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}

func md4Sum(data []byte) []byte {
	h := md4.New()
	h.Write(data)
	return h.Sum(nil)
}

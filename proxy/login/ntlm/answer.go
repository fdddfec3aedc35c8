package ntlm

import (
	"crypto/md5"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrWrong means that the answer was not made with the password given to Check.
	ErrWrong = errors.New("wrong password")

	// ErrWeak means that the answer is NTLMv1 and v1 was false in the call of Check. It
	// says nothing about the password.
	ErrWeak = errors.New("the client answers with NTLMv1, and only NTLMv2 is accepted")

	// ErrChanged means that the client's answer is right, and the integrity code in it
	// is wrong: somebody in between has changed a message.
	ErrChanged = errors.New("the integrity code of the ntlm messages is wrong")
)

// An Answer is a client's answer to the challenge of an [Exchange].
type Answer struct {
	user, domain string
	lm, nt       []byte // responses
	sessionKey   []byte // encrypted
	flags        uint32
	message      []byte
	exchange     *Exchange
}

const (
	authenticateOctets = 52 // without session key and flags, as from old clients
	authenticateFull   = 64
	authenticateMIC    = 72 // offset of the integrity code
	micOctets          = 16

	responseOctets = 24 // of LM, LMv2 and NTLMv1; NTLMv2 is longer
	proofOctets    = 16
	blobOctets     = 28 // of NTLMv2_CLIENT_CHALLENGE without attributes
)

// Authenticate parses message, the client's AUTHENTICATE_MESSAGE, and returns the
// answer in it. [Answer.Check] checks the answer; Authenticate does not. A second call
// is an error, even if the first one failed, because a challenge accepts one answer.
// The error wraps [ErrMalformed].
func (x *Exchange) Authenticate(message []byte) (*Answer, error) {
	if x.answered {
		return nil, fmt.Errorf("%w: a second answer to one challenge", ErrMalformed)
	}
	x.answered = true
	if err := checkHeader(message, kindAuthenticate, authenticateOctets); err != nil {
		return nil, err
	}
	a := &Answer{message: append([]byte(nil), message...), exchange: x, flags: x.flags}
	m := a.message
	var user, domain, workstation []byte
	for _, field := range []struct {
		at   int
		into *[]byte
	}{{12, &a.lm}, {20, &a.nt}, {28, &domain}, {36, &user}, {44, &workstation}} {
		var err error
		if *field.into, err = payload(m, field.at); err != nil {
			return nil, err
		}
	}
	if headerEnd(m) >= authenticateFull {
		var err error
		if a.sessionKey, err = payload(m, 52); err != nil {
			return nil, err
		}
		a.flags = binary.LittleEndian.Uint32(m[60:])
	}
	var err error
	if a.user, err = a.name(user); err != nil {
		return nil, err
	}
	if a.domain, err = a.name(domain); err != nil {
		return nil, err
	}
	if a.user == "" {
		return nil, fmt.Errorf("%w: no user", ErrMalformed)
	}
	return a, nil
}

// headerEnd returns the offset of the first payload, at which the fields end.
func headerEnd(m []byte) int {
	end := len(m)
	for at := 12; at < authenticateOctets; at += 8 {
		if binary.LittleEndian.Uint16(m[at:]) > 0 {
			end = min(end, int(binary.LittleEndian.Uint32(m[at+4:])))
		}
	}
	return end
}

// name decodes a name in the character set of the client's flags. If the message has no
// flags, as from JavaMail, the agreed ones apply.
func (a *Answer) name(octets []byte) (string, error) {
	flags := a.flags
	if flags&(flagUnicode|flagOEM) == 0 {
		flags = a.exchange.flags
	}
	if flags&flagUnicode == 0 {
		return fromOEM(octets), nil
	}
	return fromUnicode(octets)
}

// Names returns the names by which the configuration may know the user, the likeliest
// first. The first is the name as the client sent it. If the client also sent a domain,
// user@domain and DOMAIN\user follow. If the name as sent includes a domain, the last
// is the name without it.
func (a *Answer) Names() []string {
	names := []string{a.user}
	if a.domain != "" {
		names = append(names, a.user+"@"+a.domain, a.domain+`\`+a.user)
	}
	if _, user, ok := strings.Cut(a.user, `\`); ok && user != "" {
		names = append(names, user)
	}
	if user, _, ok := strings.Cut(a.user, "@"); ok && user != "" {
		names = append(names, user)
	}
	return names
}

// V2 reports whether the answer has the form of NTLMv2 or LMv2, which are not weak. If
// it is false, the answer is NTLMv1 or is not valid.
func (a *Answer) V2() bool {
	return len(a.nt) > responseOctets || len(a.nt) == 0 && len(a.lm) == responseOctets
}

// Check returns nil if the answer was made with password, and otherwise [ErrWrong]. If
// the password is right, but the answer has an integrity code that does not fit the
// messages, the error is or wraps [ErrChanged]. If the answer is NTLMv1 and v1 is
// false, Check returns [ErrWeak] and ignores the password. Check never accepts LM
// alone. Its running time does not tell how much of a wrong answer was right.
func (a *Answer) Check(password string, v1 bool) error {
	key := ntowf1(password)
	if len(a.nt) == responseOctets {
		if !v1 {
			return ErrWeak
		}
		if subtle.ConstantTimeCompare(a.nt, desl(key, a.challenge1())) != 1 {
			return ErrWrong
		}
		return nil
	}
	session, right := a.check2(key)
	if !right {
		return ErrWrong
	}
	return a.checkIntegrity(session)
}

// challenge1 returns the challenge that an answer of NTLMv1 is made from: the server's,
// and with extended session security also the client's ([MS-NLMP] 3.3.1).
func (a *Answer) challenge1() []byte {
	server := a.exchange.server[:]
	if a.exchange.flags&flagExtended == 0 || !a.sessionResponse() {
		return server
	}
	sum := md5.Sum(append(append([]byte(nil), server...), a.lm[:8]...))
	return sum[:8]
}

// sessionResponse reports whether the LM response is a client challenge and zeros:
// a client may agree to extended session security and not use it.
func (a *Answer) sessionResponse() bool {
	if len(a.lm) != responseOctets {
		return false
	}
	for _, c := range a.lm[8:] {
		if c != 0 {
			return false
		}
	}
	return true
}

// check2 checks NTLMv2, or LMv2 if there is no NT response ([MS-NLMP] 3.3.2), and returns
// the session base key. Clients differ in the form of the domain that they use in the
// answer: as sent, in upper case, or empty. check2 tries all three, as Samba does
// (libcli/auth/ntlm_check.c).
func (a *Answer) check2(ntowf1 []byte) (session []byte, right bool) {
	server := a.exchange.server[:]
	for _, domain := range []string{a.domain, upper(a.domain), ""} {
		key := ntowf2(ntowf1, a.user, domain)
		var got, want []byte
		switch {
		case len(a.nt) >= proofOctets+blobOctets:
			got, want = a.nt[:proofOctets], hmacMD5(key, server, a.nt[proofOctets:])
		case len(a.nt) == 0 && len(a.lm) == responseOctets:
			got, want = a.lm[:proofOctets], hmacMD5(key, server, a.lm[proofOctets:])
		default:
			return nil, false
		}
		if subtle.ConstantTimeCompare(got, want) == 1 && !right {
			session, right = hmacMD5(key, got), true
		}
	}
	return session, right
}

// checkIntegrity checks the code over the three messages, if the client's answer declares
// that there is one ([MS-NLMP] 3.2.5.1.2).
func (a *Answer) checkIntegrity(session []byte) error {
	if len(a.nt) < proofOctets+blobOctets {
		return nil
	}
	flags := findAV(a.nt[proofOctets+blobOctets:], avFlags)
	if len(flags) != 4 || binary.LittleEndian.Uint32(flags)&avFlagMIC == 0 {
		return nil
	}
	const end = authenticateMIC + micOctets
	if headerEnd(a.message) < end {
		return fmt.Errorf("%w: it has no room", ErrChanged)
	}
	if a.flags&flagKeyExchange != 0 {
		if len(a.sessionKey) != micOctets {
			return fmt.Errorf("%w: the session key has %d octets, want %d", ErrChanged, len(a.sessionKey), micOctets)
		}
		cipher, err := rc4.NewCipher(session)
		if err != nil {
			return err
		}
		session = make([]byte, micOctets)
		cipher.XORKeyStream(session, a.sessionKey)
	}
	cleared := append([]byte(nil), a.message...)
	clear(cleared[authenticateMIC:end])
	want := hmacMD5(session, a.exchange.negotiate, a.exchange.message, cleared)
	if subtle.ConstantTimeCompare(a.message[authenticateMIC:end], want) != 1 {
		return ErrChanged
	}
	return nil
}

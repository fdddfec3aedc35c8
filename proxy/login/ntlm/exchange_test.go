package ntlm

import (
	"bytes"
	"crypto/md5"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-ntlmssp"
)

// An oldClient answers as the program that it is named for.
type oldClient struct {
	name     string
	flags    uint32 // of its first message
	response string // "v1", "session", "v2", "lmv2"
	noFlags  bool   // its answer has neither a session key nor flags
	zero     bool   // its answer has flags, which are 0
	mic      bool
	keyed    bool   // it chooses the session key
	domain   string // in its answer
	hashed   string // the domain that its answer is made of, if not the same
}

// Flags as seen from the programs themselves, but for Exchange (KB Q262945), .NET
// (s_requiredFlags) and the last six, which are made up.
func oldClients() []oldClient {
	return []oldClient{
		{name: "curl", flags: 0x00088206, response: "v2"},
		{name: "Exim", flags: 0x0000b207, response: "v1"},
		{name: "msmtp, mutt, gsasl", flags: 0x0000b207, response: "v1", domain: "EXAMPLE"},
		{name: "swaks", flags: 0x0000a207, response: "v1"},
		{name: "JavaMail", flags: 0x0008a203, response: "v2", zero: true},
		{name: "Cyrus", flags: 0x00000207, response: "v1"},
		{name: "nodemailer", flags: 0xa208b207, response: "session"},
		{name: "libesmtp", flags: 0x00008202, response: "v1"},
		{name: "go-mail", flags: 0x20081207, response: "v2"},
		{name: "Exchange 5.5", flags: 0x400092b7, response: "v1", domain: "EXAMPLE"},
		{name: "gss-ntlmssp", flags: 0xe2088237, response: "v2", mic: true, keyed: true},
		{name: ".NET", flags: 0x62888215, response: "v2", mic: true, keyed: true},
		{name: "integrity without a key", flags: 0xa2888205, response: "v2", mic: true},
		{name: "no flags in the answer", flags: 0x00000203, response: "v1", noFlags: true},
		{name: "OEM, no flags in the answer", flags: 0x00000202, response: "v1", noFlags: true},
		{name: "LMv2 alone", flags: 0x00000202, response: "lmv2", domain: "EXAMPLE"},
		{name: "a domain in capitals", flags: 0x00088206, response: "v2", domain: "example", hashed: "EXAMPLE"},
		{name: "a domain left out", flags: 0x00088206, response: "v2", domain: "EXAMPLE", hashed: "-"},
	}
}

func (c oldClient) v1() bool { return c.response == "v1" || c.response == "session" }

// answer makes an AUTHENTICATE_MESSAGE from the messages before.
func (c oldClient) answer(t testing.TB, negotiate, challenge []byte, user, password string) []byte {
	t.Helper()
	flags := binary.LittleEndian.Uint32(challenge[challengeFlagsAt:])
	info, err := payload(challenge, challengeInfoAt)
	if err != nil {
		t.Fatal(err)
	}
	server, own := challenge[challengeAt:challengeAt+8], []byte("\xaaclient\xbb")
	hashed := c.domain
	if c.hashed != "" {
		hashed = strings.Trim(c.hashed, "-")
	}
	key, session := ntowf1(password), []byte(nil)
	key2 := ntowf2(key, user, hashed)
	var lm, nt []byte
	switch c.response {
	case "v1":
		lm, nt = bytes.Repeat([]byte{0xee}, 24), desl(key, server)
	case "session":
		sum := md5.Sum(slices.Concat(server, own))
		lm, nt = slices.Concat(own, make([]byte, 16)), desl(key, sum[:8])
	case "v2":
		if c.mic {
			info = info[:len(info)-avHeaderOctets]
			info = appendAV(appendAV(slices.Clone(info), avFlags, []byte{avFlagMIC, 0, 0, 0}), avEnd, nil)
		}
		blob := slices.Concat([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 8), own, make([]byte, 4), info, make([]byte, 4))
		proof := hmacMD5(key2, server, blob)
		nt, session = append(proof, blob...), hmacMD5(key2, proof)
	case "lmv2":
		lm = append(hmacMD5(key2, server, own), own...)
	}
	encode := func(text string) []byte {
		if flags&flagUnicode != 0 {
			return toUnicode(text)
		}
		return []byte(text)
	}
	size := authenticateMIC + micOctets
	if c.noFlags {
		size = authenticateOctets
	}
	m := make([]byte, size)
	copy(m, signature)
	m[8] = kindAuthenticate
	m = putField(m, 28, encode(c.domain))
	m = putField(m, 36, encode(user))
	m = putField(m, 44, encode("WORKSTATION"))
	m = putField(m, 12, lm)
	m = putField(m, 20, nt)
	if c.noFlags {
		return m
	}
	if c.keyed {
		chosen := bytes.Repeat([]byte{0x55}, 16)
		cipher, err := rc4.NewCipher(session)
		if err != nil {
			t.Fatal(err)
		}
		sealed := make([]byte, 16)
		cipher.XORKeyStream(sealed, chosen)
		m = putField(m, 52, sealed)
		session = chosen
	}
	if !c.zero {
		binary.LittleEndian.PutUint32(m[60:], flags)
	}
	if c.mic {
		copy(m[authenticateMIC:], hmacMD5(session, negotiate, challenge, m))
	}
	return m
}

func TestClientsOfEachKindLogIn(t *testing.T) {
	for _, c := range oldClients() {
		t.Run(c.name, func(t *testing.T) {
			for _, v1 := range []bool{false, true} {
				for _, password := range []string{"Tr0ub4dor&3", "wrong"} {
					negotiate := offering(c.flags)
					x, err := Begin(negotiate, "mail.example.com", time.Now())
					if err != nil {
						t.Fatal(err)
					}
					a, err := x.Authenticate(c.answer(t, negotiate, x.Challenge(), "scanner", password))
					if err != nil {
						t.Fatal(err)
					}
					if a.Names()[0] != "scanner" || a.domain != c.domain || a.V2() == c.v1() {
						t.Errorf("%q of %q, v2 %v", a.Names(), a.domain, a.V2())
					}
					var want error
					switch {
					case c.v1() && !v1:
						want = ErrWeak
					case password == "wrong":
						want = ErrWrong
					}
					if err := a.Check("Tr0ub4dor&3", v1); !errors.Is(err, want) {
						t.Errorf("v1 accepted %v, %s: %v, want %v", v1, password, err, want)
					}
				}
			}
		})
	}
}

// SEAL is what Exchange 5.5 would encrypt its stream by, LM_KEY weakens keys.
func TestNobodyIsOfferedToSeal(t *testing.T) {
	const never = 0x20 | 0x40 | 0x80 | 0x400
	for _, offered := range append([]uint32{0, 0xffffffff}, func() (all []uint32) {
		for _, c := range oldClients() {
			all = append(all, c.flags)
		}
		return all
	}()...) {
		x, err := Begin(offering(offered), "mail.example.com", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		flags := binary.LittleEndian.Uint32(x.Challenge()[challengeFlagsAt:])
		if flags&never != 0 || flags&flagSign != 0 && offered&flagExtended == 0 {
			t.Errorf("%#x is answered with %#x", offered, flags)
		}
		if flags&flagNTLM == 0 || (flags&flagUnicode == 0) == (flags&flagOEM == 0) {
			t.Errorf("%#x is answered with %#x", offered, flags)
		}
	}
}

func TestAChallengeHasWhatClientsLookFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		offered   uint32
		octets    int // 0: more than 48
		name      string
		hasInfo   bool
		wantFlags uint32
	}{
		{0x0000b207, 48 + 8, "M\x00A\x00I\x00L\x00", false, 0x00028205},   // Exim, msmtp
		{0x0000a206, 48 + 4, "MAIL", false, 0x00028206},                   // OEM alone
		{0x00000202, 48, "", false, 0x00000202},                           // no target asked for
		{0x00088206, 0, "MAIL", true, 0x008a8206},                         // curl
		{0x62888215, 0, "M\x00A\x00I\x00L\x00", true, 0x628a8215},         // .NET
		{0xa0888201, 0, "", true, 0xa0888201},                             // go-ntlmssp
		{0x400092b7, 48 + 8, "M\x00A\x00I\x00L\x00", false, 0x00028205},   // Exchange 5.5
		{0x00008000 | 0x800000, 0, "", true, 0x00808000 | 0x200 | 0x0002}, // target information alone
	} {
		x, err := Begin(offering(test.offered), "mail.example.com", now)
		if err != nil {
			t.Fatal(err)
		}
		m := x.Challenge()
		if flags := binary.LittleEndian.Uint32(m[challengeFlagsAt:]); flags != test.wantFlags {
			t.Errorf("%#x: flags %#08x, want %#08x", test.offered, flags, test.wantFlags)
		}
		name, err := payload(m, challengeNameAt)
		if err != nil || string(name) != test.name {
			t.Errorf("%#x: name %q, %v", test.offered, name, err)
		}
		if test.octets > 0 && len(m) != test.octets {
			t.Errorf("%#x: %d octets, want %d", test.offered, len(m), test.octets)
		}
		info, err := payload(m, challengeInfoAt)
		if err != nil || (len(info) > 0) != test.hasInfo {
			t.Errorf("%#x: target information %q, %v", test.offered, info, err)
		}
		if !test.hasInfo {
			continue
		}
		for id, want := range map[uint16]string{
			avComputer: "MAIL", avDomain: "MAIL", avDNSComputer: "mail.example.com", avDNSDomain: "mail.example.com",
		} {
			if got := findAV(info, id); !bytes.Equal(got, toUnicode(want)) {
				t.Errorf("%#x: attribute %d is %q, want %s", test.offered, id, got, want)
			}
		}
		stamp := findAV(info, avTimestamp)
		if len(stamp) != 8 || fileTime(now) != binary.LittleEndian.Uint64(stamp) {
			t.Errorf("%#x: the time is % x", test.offered, stamp)
		}
	}
	if got := fileTime(time.Unix(0, 0)); got != 116444736000000000 {
		t.Errorf("1970 is %d", got)
	}
}

func TestAChallengeIsNeverTheSame(t *testing.T) {
	seen := map[[8]byte]bool{}
	for range 100 {
		x, err := Begin(offering(0x00088206), "mail.example.com", time.Now())
		if err != nil || seen[x.server] {
			t.Fatalf("%x, %v", x.server, err)
		}
		seen[x.server] = true
	}
}

// One octet of a message changed on its way is noticed if the client made a code.
func TestAChangedMessageIsNoticed(t *testing.T) {
	for _, c := range oldClients() {
		if !c.mic {
			continue
		}
		original := offering(c.flags)
		try := func(changeFirst, changeLast func([]byte)) error {
			first := slices.Clone(original)
			changeFirst(first)
			x, err := Begin(first, "mail.example.com", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			last := c.answer(t, original, x.Challenge(), "scanner", "Tr0ub4dor&3")
			changeLast(last)
			a, err := x.Authenticate(last)
			if err != nil {
				t.Fatal(err)
			}
			return a.Check("Tr0ub4dor&3", true)
		}
		none := func([]byte) {}
		if err := try(none, none); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := try(func(m []byte) { m[12] ^= 0x20 }, none); !errors.Is(err, ErrChanged) {
			t.Errorf("%s, a changed first message: %v", c.name, err)
		}
		for _, at := range []int{60, authenticateMIC, authenticateMIC + micOctets - 1} {
			if err := try(none, func(m []byte) { m[at] ^= 0x40 }); !errors.Is(err, ErrChanged) && !errors.Is(err, ErrWrong) {
				t.Errorf("%s, octet %d of the answer changed: %v", c.name, at, err)
			}
		}
	}
}

func TestNamesAreTriedInEveryForm(t *testing.T) {
	for _, test := range []struct{ user, domain, want string }{
		{"canon", "", "canon"},
		{"canon", "example.com", `canon canon@example.com example.com\canon`},
		{"canon@example.com", "", `canon@example.com canon`},
		{`EXAMPLE\canon`, "", `EXAMPLE\canon canon`},
		{`\`, "", `\`},
		{"@", "", "@"},
	} {
		a := &Answer{user: test.user, domain: test.domain}
		if got := strings.Join(a.Names(), " "); got != test.want {
			t.Errorf("%q of %q: %q, want %q", test.user, test.domain, got, test.want)
		}
	}
}

func TestNamesInOtherAlphabetsAreRead(t *testing.T) {
	for _, test := range []struct {
		flags  uint32
		octets string
		want   string
	}{
		{flagUnicode, "z\x00\xfc\x00", "z\u00fc"},
		{flagUnicode, "\x3d\xd8\x00\xde", "\U0001f600"},
		{flagOEM, "z\xc3\xbc", "z\u00fc"},
		{flagOEM, "z\xfc", "z\u00fc"},
	} {
		a := &Answer{flags: test.flags, exchange: &Exchange{}}
		if got, err := a.name([]byte(test.octets)); err != nil || got != test.want {
			t.Errorf("%q: %q, %v, want %q", test.octets, got, err, test.want)
		}
	}
	if _, err := (&Answer{flags: flagUnicode}).name([]byte("abc")); !errors.Is(err, ErrMalformed) {
		t.Errorf("half a character: %v", err)
	}
}

func TestMessagesThatAreNoneAreRefused(t *testing.T) {
	for _, m := range []string{
		"", "NTLMSSP", signature, signature + "\x01\x00\x00\x00\x01\x02", "NTLMSSQ\x00\x01\x00\x00\x00\x01\x02\x00\x00",
		string(unhex(t, authenticateV2)), "ntlm supported, and more",
	} {
		if _, err := Begin([]byte(m), "mail.example.com", time.Now()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q begins an exchange: %v", m, err)
		}
	}
	change := func(at int, to ...byte) string {
		m := unhex(t, authenticateV2)
		copy(m[at:], to)
		return string(m)
	}
	for name, m := range map[string]string{
		"nothing":            "",
		"the first message":  string(offering(0xe28a8233)),
		"half a header":      string(unhex(t, authenticateV2)[:51]),
		"cut short":          string(unhex(t, authenticateV2)[:200]),
		"LM outside":         change(12+4, 0xff),
		"NT far outside":     change(20+4, 0xff, 0xff, 0xff, 0xff),
		"NT that wraps":      change(20+4, 0xf0, 0xff, 0xff, 0xff),
		"NT too long":        change(20, 0xff, 0xff),
		"a domain outside":   change(28+4, 0, 0, 0, 0x80),
		"a user outside":     change(36+4, 0xff, 0xff),
		"no user":            change(36, 0, 0, 0, 0),
		"a user of 3 octets": change(36, 3, 0, 3, 0),
		"a session key out":  change(52+4, 0xff, 0xff),
	} {
		if _, err := example(t, 0xe28a8233).Authenticate([]byte(m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s answers: %v", name, err)
		}
	}
	for name, m := range map[string]string{
		"no responses":       change(12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"LM alone":           change(20, 0, 0),
		"an NT of 25 octets": change(20, 25, 0),
		"an NT of 1 octet":   change(20, 1, 0),
	} {
		a, err := example(t, 0xe28a8233).Authenticate([]byte(m))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// The LM response of the example is LMv2, which is right alone.
		want := ErrWrong
		if name == "LM alone" {
			want = nil
		}
		if err := a.Check(examplePassword, true); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestGoNTLMSSPLogsIn(t *testing.T) {
	for _, user := range []string{"scanner", `EXAMPLE\scanner`, "scanner@example.com"} {
		for _, password := range []string{"Tr0ub4dor&3", "wrong", "z\u00fcrich \U0001f600"} {
			negotiate, err := ntlmssp.NewNegotiateMessage("", "")
			if err != nil {
				t.Fatal(err)
			}
			x, err := Begin(negotiate, "mail.example.com", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			message, err := ntlmssp.NewAuthenticateMessage(x.Challenge(), user, password, nil)
			if err != nil {
				t.Fatal(err)
			}
			a, err := x.Authenticate(message)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(a.Names(), "scanner") {
				t.Errorf("%s is %q", user, a.Names())
			}
			if err := a.Check(password, false); err != nil {
				t.Errorf("%s: %v", user, err)
			}
			if err := a.Check(password+"x", false); !errors.Is(err, ErrWrong) {
				t.Errorf("%s with another password: %v", user, err)
			}
		}
	}
}

// Whoever answers without the password is refused, whatever the messages.
func FuzzExchange(f *testing.F) {
	for flags, message := range map[uint32]string{
		0xe2028233: authenticateV1, 0x820a8233: authenticateSession, 0xe28a8233: authenticateV2,
	} {
		f.Add(offering(flags), unhex(f, message))
	}
	for _, c := range oldClients() {
		x, err := begin(offering(c.flags), "mail.example.com", time.Unix(0, 0), unhex(f, exampleChallenge))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(offering(c.flags), c.answer(f, offering(c.flags), x.Challenge(), "scanner", "wrong"))
	}
	f.Fuzz(func(t *testing.T, negotiate, authenticate []byte) {
		x, err := begin(negotiate, "mail.example.com", time.Unix(0, 0), unhex(t, exampleChallenge))
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if _, err := payload(x.Challenge(), challengeInfoAt); err != nil {
			t.Fatal(err)
		}
		a, err := x.Authenticate(authenticate)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(a.Names()) == 0 {
			t.Fatal("no name")
		}
		if err := a.Check("a password that no input knows", true); err == nil {
			t.Fatal("logged in without the password")
		}
	})
}

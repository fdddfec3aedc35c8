// Package ntlm implements the server side of NTLM ([MS-NLMP]) for SMTP ([MS-SMTPNTLM]):
// it challenges a client and checks the answer against a password in clear. It only
// authenticates. It never agrees to encrypt what follows, as Exchange 5.5 would, and
// derives keys only to check the integrity of the three messages.
//
// One exchange is
//
//	x, err := ntlm.Begin(negotiate, "mail.example.com", time.Now())
//	send(x.Challenge())
//	a, err := x.Authenticate(receive())
//	err = a.Check(passwordOf(a.Names()), false)
//
// Clients answer with NTLMv2, with NTLMv1 (Exchange 5.0 and 5.5, msmtp, mutt, swaks and
// Exim), or with NTLMv1 and a client challenge, also called NTLM2 session response. The
// last two are weak: an eavesdropper can find the password from an answer by trial, at
// the speed of DES.
package ntlm

// The flags of [MS-NLMP] 2.2.2.5 that this package uses.
const (
	flagUnicode       = 0x00000001
	flagOEM           = 0x00000002
	flagRequestTarget = 0x00000004
	flagSign          = 0x00000010
	flagNTLM          = 0x00000200
	flagAlwaysSign    = 0x00008000
	flagTargetServer  = 0x00020000 // the target name is that of a server
	flagExtended      = 0x00080000 // extended session security
	flagTargetInfo    = 0x00800000
	flagVersion       = 0x02000000
	flag128           = 0x20000000
	flagKeyExchange   = 0x40000000
	flag56            = 0x80000000
)

const (
	signature = "NTLMSSP\x00"

	kindNegotiate    = 1
	kindChallenge    = 2
	kindAuthenticate = 3
)

// Package sasl has the SASL mechanisms of SMTP AUTH (RFC 4954): the client half,
// which proves to a server who we are, and the server half, which checks who a
// client is. It does no I/O: the caller carries each message, encodes and decodes
// base64 with [Encode], [EncodeInitial], [DecodeChallenge] and [DecodeResponse], and
// reads the replies.
//
// No error, and no text of a value under any verb of fmt or in log/slog, holds a
// password, a hash or a token.
package sasl

import "errors"

// The mechanisms, as the AUTH command and the reply to EHLO spell them.
const (
	Plain       = "PLAIN"         // RFC 4616
	Login       = "LOGIN"         // draft-murchison-sasl-login-00
	CRAMMD5     = "CRAM-MD5"      // RFC 2195
	SCRAMSHA1   = "SCRAM-SHA-1"   // RFC 5802
	SCRAMSHA256 = "SCRAM-SHA-256" // RFC 7677
	NTLM        = "NTLM"          // [MS-SMTPNTLM]
	XOAuth2     = "XOAUTH2"       // https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
	OAuthBearer = "OAUTHBEARER"   // RFC 7628
)

// A Client proves to a server who we are, in one exchange. It is not for
// concurrent use. [Accept] has to be asked before the server's yes counts.
type Client interface {
	// Name is the mechanism, as in the AUTH command.
	Name() string

	// Start returns the initial response. It is nil if there is none: the server
	// speaks first. The caller may say AUTH without it and send it after the first
	// 334, whose text is then of no meaning (RFC 4954, section 4). Start is called
	// once.
	Start() (initial []byte, err error)

	// Next answers a challenge, which is what the 334 holds. An empty response is
	// not nil. After an error the exchange cannot go on: the caller cancels it
	// with "*".
	Next(challenge []byte) (response []byte, err error)
}

// A Server checks who a client is, in one exchange. It is not for concurrent use.
type Server interface {
	// Next takes the client's next message; nil means that the AUTH command had no
	// initial response, which only the first call may say. It returns what the
	// next 334 holds, or that the client is logged in. An empty challenge is sent
	// as "334 " with the space: msmtp, gsasl and swaks fail without it.
	//
	// The error is or wraps [ErrRefused] or [ErrMalformed]. It ends the exchange,
	// and every later call returns an error.
	Next(response []byte) (challenge []byte, done bool, err error)

	// User is who has logged in, as the Lookup spells the name, and "" before Next
	// has said done.
	User() string
}

var (
	// ErrRefused means that the user is unknown or the proof wrong: 535 5.7.8. What
	// wraps it says which, for the log; the client must not be told.
	ErrRefused = errors.New("authentication refused")

	// ErrMalformed means that a message is none of the mechanism: 501 5.5.2.
	ErrMalformed = errors.New("malformed authentication message")

	// ErrMechanism means that the mechanism is unknown, or needs something that
	// there is not: 504 5.5.4 towards a client.
	ErrMechanism = errors.New("mechanism not available")
)

// Package sasl implements the SASL mechanisms of SMTP AUTH (RFC 4954): the client side,
// which proves our identity to a server, and the server side, which verifies a client's.
// It does no I/O: the caller sends and receives the messages, encodes and decodes base64
// with [Encode], [EncodeInitial], [DecodeChallenge] and [DecodeResponse], and interprets
// replies.
//
// No error contains a password, a hash or a token. What fmt and log/slog print for a
// value of this package contains none either.
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

// A Client proves our identity to a server, in one exchange. It is not safe for
// concurrent use. Before relying on the server's positive reply, the caller must call
// [Accept].
type Client interface {
	// Name returns the name of the mechanism, in upper case.
	Name() string

	// Start returns the initial response, or nil if the server speaks first. The caller
	// may send it in the AUTH command or after the first 334, whose text then has no
	// meaning (RFC 4954, section 4). Start must be called once, before Next.
	Start() (initial []byte, err error)

	// Next returns the response to a challenge, which is the decoded text of a 334. An
	// empty response is not nil. After an error the caller must cancel the exchange
	// with "*".
	Next(challenge []byte) (response []byte, err error)
}

// A Server verifies the identity of a client, in one exchange. It is not safe for
// concurrent use.
type Server interface {
	// Next takes response, the client's next message, decoded. On the first call, nil
	// means that the AUTH command had no initial response. If done is true, the client
	// has logged in. Otherwise challenge is what the next 334 must say, not yet
	// encoded. An empty challenge must be sent as "334 " with the blank: msmtp, gsasl
	// and swaks fail without it.
	//
	// The error is or wraps [ErrRefused] or [ErrMalformed]. It ends the exchange: every
	// later call returns an error.
	Next(response []byte) (challenge []byte, done bool, err error)

	// User returns the user who has logged in, as the [Lookup] spells the name. It is
	// "" until Next has returned true for done.
	User() string
}

var (
	// ErrRefused means that the client may not log in: the user is unknown, the proof
	// is wrong or too weak, or the client asks to act as another user. The reply to the
	// client is 535 5.7.8. An error that wraps ErrRefused says why, for the log; the
	// client must not be told.
	ErrRefused = errors.New("authentication refused")

	// ErrMalformed means that a message of the client is not one that the mechanism
	// allows at this point. The reply to the client is 501 5.5.2.
	ErrMalformed = errors.New("malformed authentication message")

	// ErrMechanism means that the mechanism is unknown, or that [Strongest] has found
	// none that can be used. The reply to a client is 504 5.5.4.
	ErrMechanism = errors.New("mechanism not available")
)

package tlspolicy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// An Error says why a handshake failed.
type Error struct {
	Reason string // one of [Reasons]
	Text   string // what was seen and what would have been right, for a log
	Err    error  // the error of crypto/tls or crypto/x509; may be nil

	// Hybrid reports that the server, in answer to a ClientHello of ours with ML-KEM,
	// hung up, was silent, or sent an alert that is not about versions.
	// [Dialer.HandshakeClassic] on a fresh connection may succeed. Hybrid is only set
	// with [AutoKeyExchange].
	Hybrid bool
	// Silent reports that a client hung up before its ClientHello, as health checks of
	// load balancers do. It is only set by [Acceptor.Handshake].
	Silent bool
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

func refuse(reason string, err error, format string, args ...any) *Error {
	return &Error{Reason: reason, Text: fmt.Sprintf(format, args...), Err: err}
}

// Reasons returns all reasons that [Explain] returns for errors.
func Reasons() []string {
	return []string{
		"version",                   // no common version of TLS
		"cipher",                    // no common suite, curve or signature
		"certificate-expired",       // the peer's certificate has expired
		"certificate-not-yet-valid", // the peer's certificate is not valid yet
		"certificate-name",          // the peer's certificate is for other names
		"certificate-authority",     // the peer's certificate is from an unknown authority
		"certificate-weak",          // the peer's certificate, or all of ours, have a weakness that is not allowed
		"certificate-refused",       // the peer does not accept our certificate
		"pin",                       // the peer's certificate is not one of the pins
		"client-certificate",        // the client has shown no certificate, which is required
		"timeout",                   // the handshake took too long
		"closed",                    // the peer hung up
		"garbage",                   // the peer does not speak TLS
		"other",
	}
}

// Explain returns why a handshake has failed with err: a reason for metrics, one of
// [Reasons], and a text for the log. It accepts any error, and knows most about those of
// [Acceptor.Handshake] and [Dialer.Handshake]. Both results are "" if err is nil.
func Explain(err error) (reason, text string) {
	if err == nil {
		return "", ""
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Reason, known.Text
	}
	e := classify(err, "the peer")
	return e.Reason, e.Text
}

// classify explains an error from its value alone. peer is the name of the other side in
// the text.
func classify(err error, peer string) *Error {
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return noTLS(err, peer, header.RecordHeader[:])
	}
	if n, ok := alert(err); ok {
		return alerted(err, peer, n)
	}
	var netErr net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return refuse("timeout", err, "the handshake was not over in time")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe), HungUp(err):
		return refuse("closed", err, "%s hung up during the handshake (%s)", peer, plain(err))
	}
	return said(err)
}

// HungUp reports whether err means that the peer has reset the connection, or has
// closed it between two messages (io.EOF). It is false for a close within a message
// (io.ErrUnexpectedEOF).
func HungUp(err error) bool {
	return errors.Is(err, io.EOF) || slices.ContainsFunc(hungUp, func(want error) bool { return errors.Is(err, want) })
}

// noTLS explains a malformed record by its first five octets, the only ones that
// crypto/tls reveals.
func noTLS(err error, peer string, head []byte) *Error {
	text := string(head)
	switch {
	case head[0] == 0x80 && head[2] == 0x01:
		return refuse("version", err, "%s sends a ClientHello in the form of SSL 2.0 (it begins %q), which Go's TLS does not read; SSL 2.0 has to be turned off there, or a TLS of its time put in front", peer, text)
	case len(strings.TrimLeft(text[:3], "0123456789")) == 0 && strings.ContainsAny(text[3:4], " -"):
		return refuse("garbage", err, "%s answered in clear, %q, where TLS was due", peer, text)
	case !slices.ContainsFunc(head, func(b byte) bool { return b != '\r' && b != '\n' && (b < ' ' || b > '~') }):
		return refuse("garbage", err, "%s goes on in clear, %q, where TLS was due", peer, text)
	}
	return refuse("garbage", err, "%s does not speak TLS: it sent %q where a handshake was due", peer, text)
}

// alert returns the number of the alert with which the peer ended the handshake. Its type
// is not exported, but its kind and position have been the same since Go 1.
func alert(err error) (uint8, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return uint8(v.Uint()), true
	}
	return 0, false
}

// alerted explains an alert (RFC 8446, 6.2; RFC 5246, 7.2.2).
func alerted(err error, peer string, n uint8) *Error {
	name := strings.TrimPrefix(tls.AlertError(n).Error(), "tls: ")
	reason, what := "other", "broke off"
	switch n {
	case 70: // protocol_version
		reason, what = "version", "refuses every version of TLS we may speak with it"
	case 40, 71: // handshake_failure, insufficient_security
		reason, what = "cipher", "finds nothing in our offer that it may use"
	case 42, 43, 44, 45, 46, 48, 49, 51: // bad, unsupported, revoked, expired, unknown certificate; unknown CA; access denied; decrypt error
		reason, what = "certificate-refused", "does not trust our certificate"
	case 41, 116: // no_certificate (SSL 3.0), certificate_required
		reason, what = "client-certificate", "requires a certificate of ours"
	case 0, 90: // close_notify, user_canceled
		reason, what = "closed", "hung up during the handshake"
	}
	return refuse(reason, err, "%s %s (alert %d: %s)", peer, what, n, name)
}

// said explains errors of crypto/tls that consist of a text only. If a newer Go changes a
// text, the reason becomes "other", and nothing else is lost.
func said(err error) *Error {
	text := err.Error()
	if _, number, ok := strings.Cut(text, "server selected unsupported protocol version "); ok {
		var v uint16
		if _, err := fmt.Sscanf(number, "%x", &v); err == nil {
			return refuse("version", err, "the server chose %s", versionName(v))
		}
	}
	for part, reason := range map[string]string{
		"unsupported protocol version":          "version",
		"offered only unsupported versions":     "version",
		"unconfigured cipher suite":             "cipher",
		"no cipher suite supported by both":     "cipher",
		"selected unsupported group":            "cipher",
		"unsupported curve":                     "cipher",
		"invalid signature algorithm":           "cipher",
		"certificate's signature algorithms":    "cipher",
		"missing signature_algorithms":          "cipher",
		"does not look like a TLS handshake":    "garbage",
		"oversized record received with length": "garbage",
	} {
		if strings.Contains(text, part) {
			return refuse(reason, err, "%s", plain(err))
		}
	}
	return refuse("other", err, "%s", plain(err))
}

// versionName returns the name of a peer's version, also if we do not support it.
func versionName(v uint16) string {
	switch {
	case v == 0x0300:
		return "SSL 3.0"
	case v < 0x0300:
		return "SSL 2.0"
	case Version(v) == "other":
		return fmt.Sprintf("version %#04x", v)
	}
	return "TLS " + Version(v)
}

// plain returns the text of an error without characters that could harm a log.
func plain(err error) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, err.Error())
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	return text
}

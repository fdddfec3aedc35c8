package smtptest

import (
	"encoding/base64"
	"slices"
	"strings"
)

// The mechanisms of AUTH, other than NTLM, that a server may understand. A command may
// have an initial response or not.
const (
	AuthLogin       = "AUTH LOGIN"
	AuthPlain       = "AUTH PLAIN"
	AuthXOAuth2     = "AUTH XOAUTH2"
	AuthOAuthBearer = "AUTH OAUTHBEARER"
)

// offersAuth reports whether a line of an EHLO reply is about authentication.
func offersAuth(line string) bool {
	return offers(line, "AUTH") || offers(line, "XAUTH") || offers(line, "X-EXPS")
}

// understands reports whether Auth contains a form.
func (s *session) understands(form string) bool {
	return slices.ContainsFunc(s.Auth, func(t Text) bool { return t.Line == form })
}

// logIn plays a mechanism other than NTLM. played is false if the command names none that
// the server understands.
func (s *session) logIn(line string) (played bool, err error) {
	words := append(strings.Fields(line), "", "")
	form, initial := strings.ToUpper(words[0]+" "+words[1]), words[2]
	if !s.understands(form) || s.AuthSecure && !s.secure {
		return false, nil
	}
	hear := func(prompt string) (string, error) {
		if err := s.w.say("334 " + prompt); err != nil {
			return "", err
		}
		return s.w.hear()
	}
	right := false
	switch form {
	case AuthLogin:
		user, password := initial, ""
		if user == "" {
			user, err = hear("VXNlcm5hbWU6")
		}
		if err == nil && user != "*" {
			password, err = hear("UGFzc3dvcmQ6")
		}
		right = s.knows(decoded(user), decoded(password))
	case AuthPlain, AuthXOAuth2, AuthOAuthBearer:
		if initial == "" {
			initial, err = hear("")
		}
		fields := strings.FieldsFunc(decoded(initial), func(c rune) bool { return c == 0 || c == 1 })
		if form == AuthPlain {
			right = len(fields) >= 2 && s.knows(fields[len(fields)-2], fields[len(fields)-1])
			break
		}
		right = len(fields) >= 2 && s.isUser(userField(fields[0])) && s.isBearer(fields)
		if !right && s.Replies.Failure.Line != "" && err == nil {
			_, err = hear(strings.TrimPrefix(s.Replies.Failure.Line, "334 ")) // the client sends an empty line, or AQ==
		}
	default:
		return false, nil
	}
	switch {
	case err != nil:
		return true, err
	case right:
		s.authenticated = true
		return true, s.say(s.Replies.Authenticated)
	}
	return true, s.deny()
}

// deny refuses the credentials.
func (s *session) deny() error {
	if len(s.Replies.DeniedLines) == 0 {
		return s.say(s.Replies.Denied)
	}
	var lines []string
	for _, t := range s.Replies.DeniedLines {
		lines = append(lines, t.fill(s.names()...))
	}
	return s.w.say(lines...)
}

func (s *session) isUser(name string) bool { return s.User == "" || s.User == name }

func (s *session) knows(user, password string) bool {
	return user != "" && s.isUser(user) && password == s.Password
}

func (s *session) isBearer(fields []string) bool {
	return slices.ContainsFunc(fields, func(field string) bool {
		token, ok := strings.CutPrefix(field, "auth=Bearer ")
		return ok && s.Accepts(token)
	})
}

// userField returns the user in "user=" (XOAUTH2) or "n,a=," (RFC 7628, 3.1).
func userField(field string) string {
	if user, ok := strings.CutPrefix(field, "user="); ok {
		return user
	}
	return strings.TrimSuffix(strings.TrimPrefix(field, "n,a="), ",")
}

// decoded decodes base64; "" if text is not base64.
func decoded(text string) string {
	octets, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(octets)
}

// mayMail returns the refusal of a MAIL if the client must first use TLS, log in or show
// a certificate; zero: MAIL is accepted.
func (s *session) mayMail() Text {
	switch {
	case s.RequiresTLS && s.TLS != nil && (!s.secure || s.forgets):
		return s.Replies.NeedTLS
	case s.RequiresAuth && !s.authenticated:
		return s.Replies.NeedAuth
	case s.RequiresCertificate && !s.certified:
		return s.Replies.NeedCertificate
	}
	return Text{}
}

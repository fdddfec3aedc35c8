package listen

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"smtpshim/proxy/login/ntlm"
	"smtpshim/proxy/login/sasl"
	"smtpshim/rewrite"
)

// mechanismOf parses an AUTH command in any spelling. The mechanism is one of those known
// here, or "other".
func mechanismOf(verb rewrite.Verb, text []byte) (mechanism, response string) {
	words := strings.FieldsFunc(string(text), func(c rune) bool { return strings.ContainsRune(blanks, c) })
	if len(words) == 0 {
		return "", ""
	}
	if name, first, ok := strings.Cut(words[0], "="); ok && name != "" { // XAUTH=NTLM
		words = append([]string{name, first}, words[1:]...)
	}
	words = words[1:]
	if len(words) > 0 {
		name := strings.ToUpper(words[0])
		_, known := exchanges[name]
		switch {
		case known:
			mechanism, words = name, words[1:]
		case verb == rewrite.VerbXAUTH: // without the name of NTLM
		default:
			mechanism, words = "other", words[1:]
		}
	}
	if verb == rewrite.VerbXAUTH && mechanism == "" {
		mechanism = sasl.NTLM
	}
	return mechanism, strings.Join(words, " ")
}

// An exchange is the prompts for the responses of a mechanism. A prompt may depend on the
// response before it.
type exchange struct {
	responses int
	prompt    func(s *session, n int, before []byte) (text string, ok bool)
}

var exchanges = map[string]exchange{
	sasl.Plain:       {1, empty},
	sasl.XOAuth2:     {1, empty},
	sasl.OAuthBearer: {1, empty},
	"EXTERNAL":       {1, empty},
	sasl.CRAMMD5: {1, func(s *session, _ int, _ []byte) (string, bool) {
		return sasl.Encode([]byte("<1.2@" + s.of.Hostname + ">")), true
	}},
	sasl.Login: {2, func(s *session, n int, _ []byte) (string, bool) {
		prompts := []string{"Username:", "Password:"}
		if s.is&otherPrompts != 0 {
			prompts = []string{"User Name\x00", "Password\x00"} // github.com/JustinIven/smtp-oauth-relay/issues/57
		}
		return sasl.Encode([]byte(prompts[n])), true
	}},
	sasl.NTLM: {2, func(s *session, n int, before []byte) (string, bool) {
		if n == 0 {
			return "", true
		}
		x, err := ntlm.Begin(before, s.of.Hostname, time.Now())
		if err != nil {
			return "", false
		}
		return sasl.Encode(x.Challenge()), true
	}},
}

func empty(*session, int, []byte) (string, bool) { return "", true }

// auth plays an exchange. It accepts every response and keeps none.
func (s *session) auth(verb rewrite.Verb, text []byte, said string) error {
	mechanism, first := mechanismOf(verb, text)
	s.judgeAUTH(verb, mechanism, first, said)
	x, known := exchanges[mechanism]
	if !known {
		return s.refuse("AUTH", "504 5.5.4 not one of the mechanisms that are known here")
	}
	var response []byte
	for n := range x.responses {
		answer := first
		if n > 0 || first == "" {
			prompt, ok := x.prompt(s, n, response)
			if !ok {
				return s.refuse("AUTH", "501 5.5.2 malformed")
			}
			s.last, s.odd = "AUTH", s.is&otherPrompts != 0 && mechanism == sasl.Login
			if err := s.say("334 " + prompt + "\r\n"); err != nil {
				return err
			}
			l, err := s.line()
			if err != nil {
				return err
			}
			if l.end != "\r\n" {
				s.found(lineEnd, "~ a line of an AUTH exchange")
			}
			answer = string(l.text)
		}
		if answer == "*" {
			return s.refuse("AUTH", "501 5.7.0 cancelled")
		}
		var ok bool
		if response, ok = decoded(answer); !ok {
			s.found(notBase64, said)
			return s.refuse("AUTH", "501 5.5.2 not base64")
		}
	}
	s.shows("AUTH %s", mechanism)
	s.seen.auth = true
	s.seen.login = s.seen.login || mechanism == sasl.Login
	if !s.secure && (mechanism == sasl.Plain || mechanism == sasl.Login) {
		s.found(inClear, said)
	}
	return s.answer("AUTH", oneLineReader, "235", "2.7.0 any password is right here", said)
}

// decoded decodes a response; "=" is an empty one.
func decoded(line string) ([]byte, bool) {
	response, err := base64.StdEncoding.DecodeString(strings.TrimRight(line, " "))
	return response, err == nil || line == "="
}

// judgeAUTH reports faults of an AUTH command.
func (s *session) judgeAUTH(verb rewrite.Verb, mechanism, first, said string) {
	switch {
	case verb == rewrite.VerbXAUTH:
		s.found(xauth, said)
	case verb == rewrite.VerbXEXPS:
		s.found(xexps, said)
	case !s.offers() && s.hello == rewrite.VerbHELO:
		s.found(authAfterHELO, said)
	case !s.offers() && s.is&oneLineHello == 0:
		s.found(badOrder, said)
	case !slices.Contains(s.offered, mechanism):
		s.found(authUnasked, said)
	}
	if mechanism == sasl.Login && first != "" {
		s.found(firstOnLine, said)
	}
}

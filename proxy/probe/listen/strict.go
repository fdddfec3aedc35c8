package listen

import (
	"slices"
	"strings"

	"smtpshim/proxy/probe"
	"smtpshim/rewrite"
)

// refusable is the set of commands that a strict listener refuses if they have a fault,
// and that a client can repeat after that.
var refusable = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbMAIL, rewrite.VerbRCPT)

// strictly refuses a command if it has a fault, that is, a finding beyond the first known
// ones. It drops earlier findings about such a command, which the client has now
// repeated.
func (s *session) strictly(verb rewrite.Verb, text []byte, said string, known int) error {
	delete(s.refused, verb)
	switch verb {
	case rewrite.VerbMAIL, rewrite.VerbRCPT:
		s.path(verb, text, said)
	default:
		s.judgeName(strings.TrimLeft(string(text), blanks)[len("EHLO"):], said)
	}
	wrong := slices.DeleteFunc(slices.Clone(s.findings[known:]), func(f noted) bool { return f.Kind != probe.Fault })
	if len(wrong) == 0 {
		return s.command(verb, text, said)
	}
	if s.refused == nil {
		s.refused = map[rewrite.Verb][]noted{}
	}
	s.findings, s.refused[verb] = s.findings[:known], wrong
	reply := "501 5.5.4 invalid argument"
	if slices.ContainsFunc(wrong, func(f noted) bool { return f.name == param.name }) {
		reply = "555 5.5.4 parameter not known"
	}
	return s.refuse(verb.String(), reply)
}

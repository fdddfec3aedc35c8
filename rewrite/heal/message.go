package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

// Safeguard is the name of the rule that mends or refuses messages with a bare CR, a
// bare LF or a NUL. Another server could take such a message for two (SMTP smuggling).
// The rule is in force on every route, even if all other rules are only observed.
const Safeguard = "stray-bytes"

func strayBytes() rewrite.Rule {
	return rewrite.Rule{
		Name:  Safeguard,
		Heals: "messages with a bare CR, a bare LF or a NUL in them, which another reader takes for a line's end",
		Doc: "Stray octets in a message never pass. A bare LF becomes CRLF, and CRs directly before CRLF are removed: CR CR LF is one " +
			"line end. Any other bare CR, and a NUL, becomes a blank. A single dot after a bare LF is doubled, so that it arrives. Two " +
			"dots there stay as they are, as from a client that doubles dots, until a single dot shows that this one does not. This rule " +
			"counts the messages that were mended in this way, or refuses them with 554 at their end. It is in force on every route: " +
			"`stray_bytes` chooses between the two.",
		Symptoms: []string{"451 See http://pobox.com/~djb/docs/smtplf.html", "451 Failed Naked LF", "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal",
			"Error: bare <LF> received"},
		Source:  "RFC 5321, 2.3.8 and 4.1.1.4; Postfix, smtpd_forbid_bare_newline; CVE-2023-51764; bruceg/nullmailer#76 (CR CR LF); KB2998901",
		Entries: []string{"L63", "L65", "L68"},
		Options: []rewrite.Option{{Name: "mode", Default: "mend", Values: []string{"mend", "refuse"},
			Doc: "\"mend\": the message passes, mended; \"refuse\": it is refused at its end"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			refuse := o.Text("mode") == "refuse"
			look := func(m *rewrite.Text) {
				switch {
				case m.Stray() == 0:
				case refuse:
					m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.0 the message has a bare CR, a bare LF or a NUL in it"}})
				default:
					m.Applied()
				}
			}
			a := rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return rewrite.Filter{Look: look} }}
			if refuse {
				a.Offer = hideChunking
			}
			return a, nil
		},
	}
}

func lfEnds() rewrite.Rule {
	return rewrite.Rule{
		Name:  "lf-ends",
		Heals: "clients that end lines with LF alone, and messages with LF.LF",
		Doc: "The proxy reads the lines of such clients as if CRLF ended them. From any other client, one message could become two in " +
			"this way. So the key `lf_ends` puts the rule in force only for the networks that it names.",
		Symptoms: []string{"while waiting for the message body", "500 5.5.2 a command ends with CRLF"},
		Source:   "KB Q152944; RFC 5321, 2.3.8",
		Entries:  []string{"L63", "L64"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				Line: func(_ rewrite.Session, octets []byte) []byte {
					line, ok := bytes.CutSuffix(octets, []byte("\n"))
					if !ok || bytes.ContainsAny(line, "\r\x00") {
						return nil
					}
					return line
				},
				Message: func(m *rewrite.Text) rewrite.Filter {
					m.EndsAtLF()
					return rewrite.Filter{Look: func(m *rewrite.Text) {
						if m.LFs() > 0 {
							m.Applied()
						}
					}}
				},
			}, nil
		},
	}
}

// hideChunking removes CHUNKING from the offer, for rules that must see every message as
// text.
func hideChunking(_ rewrite.Session, e rewrite.Extensions) { e.Drop("CHUNKING", "BINARYMIME") }

func chunking() rewrite.Rule {
	return rewrite.Rule{
		Name:    "chunking",
		Heals:   "servers whose CHUNKING or BINARYMIME does not work, and firewalls that do not know BDAT",
		Doc:     "The rule removes both keywords from the EHLO reply, so that clients send by DATA. The key `chunking` puts the rule in force.",
		Source:  "KB821733; KB973486",
		Entries: []string{"L70", "L71"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Offer: hideChunking}, nil
		},
	}
}

func bdatToData() rewrite.Rule {
	return rewrite.Rule{
		Name:  "bdat-to-data",
		Heals: "servers without CHUNKING, for clients that support only BDAT, or work better with it",
		Doc: "The rule offers CHUNKING to the client (never BINARYMIME), and sends the client's chunks to the server as one message by " +
			"DATA, with dots stuffed and stray line ends mended. The proxy itself confirms each chunk but the last; the server answers " +
			"the last. RSET between chunks costs the connection to the server. The rule is in no set: a client that supports BDAT also " +
			"supports DATA.",
		Symptoms: []string{"550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal"},
		Source:   "RFC 3030; KB821733; KB2998901",
		Entries:  []string{"L70"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), Reply: func(t *rewrite.Turn) {
					if !t.Server().Has("CHUNKING") {
						t.Extensions().Add("CHUNKING")
					}
				},
				Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: func(t *rewrite.Turn) {
					switch r := t.Recipients(); {
					case t.Server().Has("CHUNKING"):
					case r.AllRefused(): // the server may accept DATA nevertheless
						t.Answer(refusalFor(r))
					default:
						t.AsData()
					}
				},
			}, nil
		},
	}
}

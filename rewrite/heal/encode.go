package heal

import (
	"fmt"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/mimetext"
)

// eightBit is the state of offer-8bitmime.
type eightBit struct {
	declared bool // the last MAIL in the present or next transaction has BODY=8BITMIME
}

func offer8BITMIME() rewrite.Rule {
	return rewrite.Rule{
		Name:  "offer-8bitmime",
		Heals: "senders that bounce 8-bit mail because the server does not offer 8BITMIME",
		Doc: "If the server does not offer 8BITMIME, the rule offers it to the client, and removes BODY from MAIL. If the client has " +
			"declared a message with BODY=8BITMIME, its text parts that are labelled 8bit become quoted-printable (RFC 6152, 3), and " +
			"SIZE is removed from its MAIL. Everything else passes unchanged. If a message then still has 8-bit octets in its body, it " +
			"is refused at its end with 554 5.6.3. This concerns parts other than text, parts that are signed or encrypted, parts " +
			"without the label, parts that can be read in more than one way, and, unless `signatures` says otherwise, messages with " +
			"DKIM-Signature, which encoding makes invalid. 8-bit octets in the message's own header pass. The rule hides CHUNKING of " +
			"such a server, so that it sees every message. With `text = \"pass\"` messages pass unchanged, for servers that accept 8 " +
			"bits and do not offer 8BITMIME.",
		Symptoms: []string{"554 5.6.1 Body type not supported by Remote Host", "500 Host does not support 8bitmime",
			"554 5.6.3 the message has 8-bit text that cannot be made 7-bit"},
		Source:  "RFC 6152, 3; RFC 2045, 6.4 and 6.7; RFC 6376, 5.3; KB320027; KB Q198415; KB Q295734; Domino 8 help",
		Entries: []string{"L50", "L112"},
		Options: []rewrite.Option{
			{Name: "text", Default: "encode", Values: []string{"encode", "pass"},
				Doc: "\"encode\": text parts become quoted-printable; \"pass\": messages go to the server with 8 bits"},
			{Name: "signatures", Default: "keep", Values: []string{"keep", "break"},
				Doc: "\"keep\": a message with DKIM-Signature passes as it is, and is refused if it has 8-bit text; \"break\": it is encoded too"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			encodes := o.Text("text") == "encode"
			a := rewrite.Actions{
				Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), Reply: add8BITMIME,
				Commands: rewrite.SetOf(rewrite.VerbMAIL), Command: func(t *rewrite.Turn) {
					if encodes && !t.Transaction() { // in a transaction, MAIL is refused
						t.State().(*eightBit).declared = rewrite.HasWord(t.Said(), "8BITMIME")
					}
					takeBODYOut(t, encodes)
				},
			}
			if !encodes {
				return a, nil
			}
			a.Offer = func(s rewrite.Session, e rewrite.Extensions) {
				if !e.Has("8BITMIME") {
					hideChunking(s, e)
				}
			}
			a.State = func() any { return &eightBit{} }
			plan := mimetext.Plan{Encode: mimetext.LabelledTexts, BreakSignatures: o.Text("signatures") == "break"}
			a.Message = func(m *rewrite.Text) rewrite.Filter {
				if m.Server().Has("8BITMIME") || !m.State().(*eightBit).declared {
					return rewrite.Filter{}
				}
				return reencoded(plan, func(m *rewrite.Text, w *mimetext.Writer) {
					if w.EightBit() {
						m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.3 the message has 8-bit text that cannot be made 7-bit"}})
					}
				})
			}
			return a, nil
		},
	}
}

func add8BITMIME(t *rewrite.Turn) {
	if !t.Lost() && !t.Server().Has("8BITMIME") {
		t.Extensions().Add("8BITMIME")
	}
}

// takeBODYOut removes BODY from a MAIL to a server that has not offered it. If the text
// will grow, it also removes SIZE (RFC 1870, 6.1). It keeps BODY=BINARYMIME, which we
// have not offered.
func takeBODYOut(t *rewrite.Turn, grows bool) {
	if t.Server().Has("8BITMIME") || !rewrite.HasWord(t.Said(), "BODY") {
		return
	}
	grows = grows && rewrite.HasWord(t.Said(), "8BITMIME")
	leaveOut(t, func(p, keyword string) bool {
		return strings.EqualFold(p, "BODY=7BIT") || strings.EqualFold(p, "BODY=8BITMIME") || grows && keyword == "SIZE"
	})
}

// takeSIZEOut removes SIZE from a MAIL whose message may grow, because the client's
// number would be too small (RFC 1870, 6.1).
func takeSIZEOut(t *rewrite.Turn) {
	if rewrite.HasWord(t.Line(), "SIZE") {
		leaveOut(t, func(_, keyword string) bool { return keyword == "SIZE" })
	}
}

// reencoded returns a Filter that encodes a message by a plan. It calls look after each
// piece. It refuses a message if readers may disagree on where its parts end.
func reencoded(plan mimetext.Plan, look func(*rewrite.Text, *mimetext.Writer)) rewrite.Filter {
	w := mimetext.New(plan)
	judge := func(m *rewrite.Text) {
		if w.Changed() {
			m.Applied()
		}
		if w.Unclear() {
			m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.3 the message has a line that may end one of its parts, or not, and cannot be encoded"}})
		}
		look(m, w)
	}
	return rewrite.Filter{
		Text: func(m *rewrite.Text, dst, src []byte) []byte {
			out := w.Append(dst, src)
			judge(m)
			return out
		},
		End: func(m *rewrite.Text) []byte {
			out := w.End(nil)
			judge(m)
			return out
		},
	}
}

func label8Bit() rewrite.Rule {
	return rewrite.Rule{
		Name:  "label-8bit",
		Heals: "clients that send 8-bit text without a label that says so",
		Doc: "If a text part of a message has no Content-Transfer-Encoding, or 7bit, the rule labels it 8bit. If the part names no " +
			"character set, or us-ascii, it gets that of the option `charset`. MAIL gets BODY=8BITMIME if the server offers that. With " +
			"`mode = \"encode\"` the part becomes quoted-printable instead. The header has already passed when the first 8-bit octet " +
			"comes, so messages of 7 bits are changed too: name the clients that need this with the option `clients`. Signed parts stay " +
			"as they are. The rule hides CHUNKING from these clients, and removes SIZE from their MAIL.",
		Source:  "RFC 1428; RFC 2045, 6.1; Sendmail 8.12.10 release notes; KB Q195215",
		Entries: []string{"L69"},
		Options: []rewrite.Option{
			{Name: "mode", Default: "label", Values: []string{"label", "encode"},
				Doc: "\"label\": text parts are labelled 8bit; \"encode\": they become quoted-printable"},
			{Name: "charset", Default: "unknown-8bit",
				Doc: "the character set that such clients write: \"iso-8859-1\", say; RFC 1428 has \"unknown-8bit\" where nobody knows"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			charset := o.Text("charset")
			if charset == "" || strings.Trim(charset, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+") != "" {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "charset",
					Err: fmt.Errorf("%q is no name of a character set, such as \"iso-8859-1\"", charset)}
			}
			plan := mimetext.Plan{Charset: charset}
			labels := o.Text("mode") == "label"
			if labels {
				plan.Label = true
			} else {
				plan.Encode = mimetext.EveryText
			}
			return rewrite.Actions{
				Offer:    hideChunking,
				Commands: rewrite.SetOf(rewrite.VerbMAIL), Command: func(t *rewrite.Turn) {
					takeSIZEOut(t)
					if path, ok := t.Path(); ok && labels && t.Server().Has("8BITMIME") && !rewrite.HasWord(t.Said(), "BODY") {
						path.Params = append(path.Params, "BODY=8BITMIME")
						t.SetPath(path)
					}
				},
				Message: func(*rewrite.Text) rewrite.Filter { return reencoded(plan, func(*rewrite.Text, *mimetext.Writer) {}) },
			}, nil
		},
	}
}

func leadingDots() rewrite.Rule {
	return rewrite.Rule{
		Name:  "leading-dots",
		Heals: "servers that cut messages at lines that begin with a dot",
		Doc: "In quoted-printable parts a dot that begins a line becomes =2E, which changes nothing for the reader. With `mode = " +
			"\"encode\"`, text parts of 7 or 8 bits become quoted-printable; all of them do, because the header has already passed when " +
			"the dot comes. With `mode = \"blank\"` they get a blank before the dot, which the reader sees. Base64 has no dots. If such " +
			"a line is left, for example in a signed part, the message passes, or with `rest = \"refuse\"` is refused with 554 at its " +
			"end. The rule hides CHUNKING, so that it sees every message.",
		Source:  "KB Q140935; KB843401; RFC 2045, 6.7; Sendmail 8.7.2 release notes",
		Entries: []string{"L66"},
		Options: []rewrite.Option{
			{Name: "mode", Default: "quote", Values: []string{"quote", "encode", "blank"},
				Doc: "\"quote\": dots in quoted-printable parts only; \"encode\": other text becomes quoted-printable; \"blank\": other text gets a blank before the dot"},
			{Name: "rest", Default: "pass", Values: []string{"pass", "refuse"},
				Doc: "what becomes of a message in which a line still begins with a dot"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			plan := mimetext.Plan{Dots: true}
			a := rewrite.Actions{Offer: hideChunking, Commands: rewrite.SetOf(rewrite.VerbMAIL), Command: takeSIZEOut}
			switch o.Text("mode") {
			case "encode":
				plan.Encode = mimetext.EveryText
			case "blank":
				plan.Prefix = true
			}
			refuses := o.Text("rest") == "refuse"
			a.Message = func(*rewrite.Text) rewrite.Filter {
				return reencoded(plan, func(m *rewrite.Text, w *mimetext.Writer) {
					if refuses && w.LeadingDots() {
						m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.3 the message has a line that begins with a dot"}})
					}
				})
			}
			return a, nil
		},
	}
}

package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func joinDataReply() rewrite.Rule {
	return rewrite.Rule{
		Name:  "join-data-reply",
		Heals: "Windows 2003 and Exchange 2000 and 2003 as senders, which take the first line of a 354 for all of it",
		Doc: "If the lines of the reply to DATA arrive separately, the sender takes the first line for the whole reply, and the next line " +
			"for the reply to its message. It keeps a message that was delivered, and sends it again until it expires. The rule makes a " +
			"reply to DATA with several lines one line, in one write, with the text of all lines. With `replies = \"all\"` it does so " +
			"with every reply but a 334 and the reply to EHLO, for clients that cannot read more.",
		Symptoms: []string{"messages to certain domains are retried until they expire", "recipients may receive multiple copies"},
		Source:   "KB912341; RFC 5321, 4.2.1",
		Entries:  []string{"L60"},
		Options: []rewrite.Option{{Name: "replies", Default: "data", Values: []string{"data", "all"},
			Doc: "\"data\": the answer to DATA; \"all\": every reply but EHLO's and 334"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			of := rewrite.SetOf(rewrite.VerbDATA)
			if o.Text("replies") == "all" {
				of = rewrite.EveryVerb &^ rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO)
			}
			return rewrite.Actions{Multiline: of, Reply: joinLines}, nil
		},
	}
}

// maxJoined is the length of the longest text that a client must accept in a line: 512
// octets with code, blank and CRLF (RFC 5321, 4.5.3.1.5).
const maxJoined = 512 - 6

func joinLines(t *rewrite.Turn) {
	r := t.Reply()
	if len(r.Lines) < 2 || r.Code == 334 { // 334 is a challenge, not text
		return
	}
	status, _, _ := strings.Cut(r.Lines[0], " ")
	var b strings.Builder
	for i, text := range r.Lines {
		if i > 0 && isStatus(status) {
			text = strings.TrimPrefix(text, status)
		}
		if text = strings.Trim(text, " "); text != "" && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	joined := b.String()
	if len(joined) > maxJoined {
		joined = strings.TrimRight(joined[:runeStart(joined, maxJoined)], " ")
	}
	r.Lines = []string{joined}
}

// cutStatus splits text into its enhanced status code, "" if it has none, and the rest.
func cutStatus(text string) (status, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !isStatus(word) {
		return "", text
	}
	return word, rest
}

// refuseAs sets the code of a refusal, and the enhanced status code of each of its lines.
func refuseAs(r *rewrite.Reply, code int, status string) {
	r.Code = code
	for i, text := range r.Lines {
		_, text = cutStatus(text)
		r.Lines[i] = status + " " + text
	}
}

// isStatus reports whether word is an enhanced status code (RFC 3463, 2).
func isStatus(word string) bool {
	return len(word) >= 5 && strings.Count(word, ".") == 2 && strings.Trim(word, "0123456789.") == ""
}

package rewrite

import (
	"bytes"
	"strings"
)

// PlainWords returns octets, which a server has sent, without what may be secret: a
// server may repeat a credential, or send a challenge. The result keeps codes, numbers
// of up to five digits, and words that are usual in refusals. Every other word is
// replaced by its length.
func PlainWords(octets []byte) string {
	var b strings.Builder
	for len(octets) > 0 {
		n := bytes.IndexAny(octets, " \t\r\n")
		if n < 0 {
			n = len(octets)
		}
		if word := octets[:n]; isPlain(word) {
			b.Write(word)
		} else {
			b.WriteString(hidden(len(word)))
		}
		end := n
		for end < len(octets) && strings.IndexByte(" \t\r\n", octets[end]) >= 0 {
			end++
		}
		b.Write(octets[n:end])
		octets = octets[end:]
	}
	return b.String()
}

// isPlain reports whether a word of a reply reveals nothing of what the client said.
func isPlain(word []byte) bool {
	if len(word) >= 4 && word[3] == '-' && isPlain(word[:3]) { // of a line that is followed by another
		word = word[4:]
	}
	word = bytes.Trim(word, `.,:;!?"'()[]<>-`)
	if len(word) <= 5 && len(bytes.Trim(word, "0123456789.")) == 0 {
		return true
	}
	return len(word) <= longestPlain && strings.Contains(plainWords, " "+strings.ToLower(string(word))+" ")
}

// plainWords are words that common servers use in refusals of AUTH and of lines that are
// no commands. None of them is likely to be a name or a password.
const plainWords = " a abort aborted accepted again already an and argument arguments auth authenticated authentication available " +
	"bad base64 be been broken bytes cancel cancelled canceled cannot challenge characters client closed closing command commands " +
	"connect connection could credentials data decode decoding disabled does encoding encrypted encryption error errors exceeded " +
	"exceeds exchange exist expected expired fail failed failure first for format found has helo ehlo implemented in incorrect " +
	"initial input internal invalid is issue issued it later length limit line local long longer malformed many maximum may " +
	"mechanism mechanisms method missing more must negotiation no not octets of on only or parameter parameters parse please " +
	"protocol reject rejected request requested require required requires response retry search send sequence server session " +
	"size starttls status string support supported syntax temporarily temporary than that the this tls to too transaction try " +
	"type unable unavailable understood unexpected unknown unrecognised unrecognized unsupported use valid was when without wrong you your "

const longestPlain = len("authentication")

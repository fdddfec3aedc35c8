package dialogues_test

import (
	"strings"
	"testing"
)

// The text of a message is that of the wire, with its end; where not all of it is there, there is none.
func TestADialogueHasTheTextsOfItsMessages(t *testing.T) {
	const begin = "S: 220 a\nC: DATA\nS: 354 go on\n"
	for name, test := range map[string]struct{ text, want string }{
		"lines":     {begin + "C: a\nC: ..b\nC: \nC: .\nS: 250 ok\n", "a\r\n..b\r\n\r\n.\r\n"},
		"an answer": {begin + "C: a\nS: 452 full\nC: b\nC: .\n", ""},
		"its end":   {begin + "C: a\n", ""},
		"nothing":   {begin + "S: 250 ok\n", ""},
		"no line":   {begin + "C: .\nS: 250 ok\n", ""},
		"Python":    {"connect: ('a', 25)\nreply: b'220 a\\r\\n'\nsend: 'data\\r\\n'\nreply: b'354 b\\r\\n'\nsend: b'a\\nb\\r\\n.\\r\\n'\nreply: b'250 ok\\r\\n'\n", "a\nb\r\n.\r\n"},
		"curl":      {"* Connected to a\n< 220 a\n> DATA\n< 354 b\n} [15 bytes data]\n< 250 ok\n", ""},
		"in TLS":    {"S: 220 a\nC: STARTTLS\nS: 220 b\nC: DATA\nS: 354 go on\nC: a\nC: .\nS: 250 ok\n", "a\r\n.\r\n"},
		"much":      {begin + strings.Repeat("C: "+strings.Repeat("x", 10000)+"\n", 500) + "C: .\nS: 250 ok\n", ""},
	} {
		all := read(t, test.text)
		if len(all) != 1 {
			t.Fatalf("%s: %d dialogues", name, len(all))
		}
		got := ""
		for place, text := range all[0].Texts {
			if got += text; !all[0].Dialogue[place].IsMessage() {
				t.Errorf("%s: the text is said to be at %s", name, all[0].Dialogue[place])
			}
		}
		if got != test.want {
			t.Errorf("%s: the text is %q, want %q", name, got[:min(100, len(got))], test.want)
		}
	}
}

package heal

import "smtpshim/rewrite"

// heldText is the number of octets of a message that are held back until its end. They
// are enough for a few lines, and fit with the dot into any segment of TCP (RFC 9293,
// 3.7.1: 536 octets).
const heldText = 512

func dotWithText() rewrite.Rule {
	return rewrite.Rule{
		Name:  "dot-with-text",
		Heals: "firewalls and servers that do not see the end of a message if its dot comes in a packet of its own",
		Doc: "The rule holds back the last 512 octets of a message until it ends, and sends them in one write with the dot. The PIX loses " +
			"an end that two packets share (CSCds90792). If the last write is longer, the network may still split it, but seldom at the " +
			"dot. CHUNKING, which a PIX does not know, passes by count.",
		Symptoms: []string{"timed out while sending end of data -- message may be sent more than once"},
		Source:   "KB Q295725; Postfix, smtp_pix_workarounds; Exim specification, tcp_nodelay",
		Entries:  []string{"L08", "L74"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Message: holdEnd}, nil
		},
	}
}

func holdEnd(*rewrite.Text) rewrite.Filter {
	var held []byte
	return rewrite.Filter{
		Text: func(_ *rewrite.Text, dst, src []byte) []byte {
			if whole := len(held) + len(src); whole <= heldText {
				held = append(held, src...)
				return dst[:0]
			}
			out := append(append(dst[:0], held...), src...)
			goes := len(out) - heldText
			if goes > 0 && out[goes-1] == '\r' { // otherwise its LF would come alone
				goes--
			}
			held = append(held[:0], out[goes:]...)
			return out[:goes]
		},
		End: func(*rewrite.Text) []byte { return held },
	}
}

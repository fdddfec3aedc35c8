package main

import (
	"cmp"
	"regexp"
	"strings"
)

// byStatus maps enhanced status codes to their meanings (RFC 3463, 3, and IANA's
// registry), with the class if that matters, as far as the meaning is the same for all
// servers. It omits codes that servers use for various things: 5.4.1 (the recipient, at
// Exchange Online), 4.2.1, x.0.0, x.7.0, x.7.1, x.1.10 (for Exchange an unknown
// recipient, for IANA a missing server) and others.
var byStatus = map[string]string{
	"1.1": unknownRecipient, "1.2": unknownServer, "1.3": wrongRecipient, "1.6": unknownRecipient,
	"1.7": wrongSender, "1.8": unknownSender, "5.2.1": disabledMailbox, "2.2": fullMailbox, "2.3": largeMessage, "4.3.1": fullServer, "3.4": largeMessage,
	"4.4.1": unreachable, "4.4": unknownServer, "4.6": circle, "4.7": expired,
	"7.13": disabledMailbox, "7.20": bySender, "7.21": bySender, "7.22": bySender, "7.23": bySender, "7.24": bySender, "7.26": bySender,
	"7.25": namelessAddress,
}

// statusIn matches an enhanced status code in a reply, a bounce or a log.
var statusIn = regexp.MustCompile(`(?i)(?:^|\b[45][0-9]{2}[- ]+#?|\bdsn=|\bstatus: ?|#)([45])\.([0-9]{1,3}\.[0-9]{1,3})\b`)

// statusCauses returns the meanings of the enhanced status codes in a line.
func (e *explainer) statusCauses(line string) []cause {
	if !strings.Contains(line, "4.") && !strings.Contains(line, "5.") {
		return nil
	}
	for _, m := range statusIn.FindAllStringSubmatch(line, -1) {
		means := cmp.Or(byStatus[m[1]+"."+m[2]], byStatus[m[2]])
		for _, o := range e.ordinary {
			if means != "" && o.means == means {
				c := o.cause()
				c.Symptom, c.weight = strings.Join(m[1:], "."), weightStatus
				return []cause{c}
			}
		}
	}
	return nil
}

package main

import (
	"cmp"
	"regexp"
	"strings"
)

// byStatus says what enhanced codes mean (RFC 3463, 3, and IANA's registry of them), with
// their class where that matters, where they say it of all servers. Those that servers use
// for anything are not here: 5.4.1 (the recipient, at Exchange Online), 4.2.1, x.0.0, x.7.0, x.7.1, x.1.10
// (Exchange knows no such recipient, and IANA no server) and others.
var byStatus = map[string]string{
	"1.1": unknownRecipient, "1.2": unknownServer, "1.6": unknownRecipient,
	"1.8": unknownSender, "5.2.1": disabledMailbox, "2.2": fullMailbox, "2.3": largeMessage, "4.3.1": fullServer, "3.4": largeMessage,
	"4.4.1": unreachable, "4.4": unknownServer, "4.6": circle, "4.7": expired,
	"7.13": disabledMailbox, "7.20": bySender, "7.21": bySender, "7.22": bySender, "7.23": bySender, "7.24": bySender, "7.26": bySender,
	"7.25": namelessAddress,
}

// statusIn is an enhanced code where one stands in a reply, a bounce or a log.
var statusIn = regexp.MustCompile(`(?i)(?:^|\b[45][0-9]{2}[- ]+#?|\bdsn=|\bstatus: ?|#)([45])\.([0-9]{1,3}\.[0-9]{1,3})\b`)

// statusCauses are what the enhanced codes of a line mean.
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

package main

import (
	"regexp"
	"slices"
)

// masked matches what a PIX makes of a greeting, of keywords, and of EHLO in the reply
// of the server (KB320027; rapid7/recog; nmap).
var masked = regexp.MustCompile(`\b220[ -][*20 ]*\*{4}|\b220 SMTP/cmap|\b250[ -]XXX+[A-Z]?(?: |$)|\b50[0-2]\b.*["'<( ]XXXX\b`)

// maskedCause returns what a line shows that a firewall has masked.
func maskedCause(line string) (c cause, ok bool) {
	return cause{
		Entries: []string{"L06", "L07"},
		Means: "a firewall on the way, such as Cisco's PIX, masks the greeting with stars, and EHLO and keywords with X's: " +
			"this says nothing about the server behind it",
		Do: `put smtpshim between, with rules = ["standard", "cisco-pix"] in its route: of that set, masked-ehlo and fall-back-to-helo are for EHLO ` +
			"and keywords, and host-name-first and advertise-esmtp for the greeting; or have the firewall not inspect SMTP",
		Source: "KB320027; KB Q295725; rapid7/recog, smtp_banners.xml; nmap service probes", weight: weightOrdinary,
	}, masked.MatchString(line)
}

// withoutFirewall removes the rules of the set cisco-pix, which are described by the
// servers that need them without a firewall.
func withoutFirewall(causes []cause) []cause {
	return slices.DeleteFunc(causes, func(c cause) bool { return c.Rule != "" && slices.Contains(setsOf(c.Rule), "cisco-pix") })
}

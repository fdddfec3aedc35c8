package proxy

import (
	"regexp"
	"strings"
)

// asText is what octets are as the text of a message, without its last CRLF.
func asText(octets string) string {
	lines := strings.NewReplacer("\r", " ", "\x00", " ").Replace(crsBeforeLF.ReplaceAllString(octets, "\n"))
	var out []string
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
		if strings.HasPrefix(line, ".") {
			line = "." + line
		}
		out = append(out, line)
	}
	return strings.Join(out, "\r\n")
}

var crsBeforeLF = regexp.MustCompile("\r+\n")

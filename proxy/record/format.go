package record

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpshim/proxy/journal"
	"smtpshim/rewrite/transcript"
)

// format writes a recording as a transcript. What a transcript has no place for
// is in its prose.
func format(r recording) []byte {
	f := transcript.File{About: about(r.entry), Rules: r.route.Rules, Options: r.route.Options, Settings: maps.Clone(r.route.Settings)}
	if client := r.entry.Client; client.IsValid() {
		if f.Settings == nil {
			f.Settings = map[string]string{}
		}
		f.Settings["client"] = client.String()
	}
	text := f.Format() // to where the dialogue begins
	for _, l := range r.entry.Lines {
		text = append(append(text, l.String()...), '\n')
	}
	return text
}

// about is a recording's prose: which session it was, how it ended, and for each
// line of the dialogue when it passed and which rule changed it.
func about(e journal.Entry) string {
	var b []byte
	line := func(name string, text ...string) {
		if len(text) == 1 && text[0] == "" {
			return
		}
		b = append(append(b, name...), "            "[len(name):]...)
		for _, t := range text {
			b = append(b, t...)
		}
		b = append(b, '\n')
	}
	end := e.End
	line("Recorded", "session ", e.ID, " of route ", e.Route)
	line("Began", e.Began.UTC().Format("2006-01-02T15:04:05.000Z"))
	line("Lasted", seconds(end.Lasted), " s")
	line("Outcome", end.Outcome)
	line("Server", end.Server)
	line("Hello", journal.Printable(end.Hello))
	line("Messages", strconv.Itoa(end.Messages), ", ", strconv.FormatInt(end.Octets, 10), " octets")
	line("Client TLS", end.ClientTLS)
	line("Server TLS", end.ServerTLS)
	var rules []string
	for _, name := range slices.Sorted(maps.Keys(end.Rules)) {
		rules = append(rules, name+" "+strconv.Itoa(end.Rules[name]))
	}
	line("Rules", strings.Join(rules, ", "))
	if e.Failed() {
		line("While", end.While)
	}
	line("Error", journal.Printable(end.Err))
	if e.Omitted > 0 {
		line("Left out", strconv.Itoa(e.Omitted), " lines, in the middle")
	}
	b = append(b, "\nLine   Seconds  Rule"...)
	for i, l := range e.Lines {
		b = padded(append(b, '\n'), 4, strconv.Itoa(i+1))
		b = padded(b, 10, seconds(l.After))
		if l.Rule != "" {
			b = append(append(b, "  "...), l.Rule...)
		}
	}
	return string(b)
}

// padded appends text with blanks before it, to a width.
func padded(b []byte, width int, text string) []byte {
	for n := len(text); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, text...)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

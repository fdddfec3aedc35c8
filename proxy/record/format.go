package record

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpshim/proxy/journal"
	"smtpshim/rewrite/transcript"
)

// A played is what is needed to play a route's dialogues, as in their files: everything
// between the prose and the dialogue. before and after surround the setting of the
// client's address.
type played struct{ before, after []byte }

func newPlayed(r *Route) played {
	const somebody = "192.0.2.1"
	settings := map[string]string{}
	maps.Copy(settings, r.Settings)
	settings["client"] = somebody
	f := transcript.File{Rules: r.Rules, Options: r.Options, Settings: settings}
	text, line := f.Format(), []byte("\nclient = "+strconv.Quote(somebody)+"\n")
	at := bytes.LastIndex(text, line) // options precede it
	return played{text[:at+1], text[at+len(line):]}
}

// Format returns the session e as the text of a recording, whether or not the route of
// e is recorded.
func Format(e *journal.Entry) []byte {
	r := Route{Name: e.Route}
	if e.Setup != nil {
		r.Rules, r.Options, r.Settings = e.Setup.Rules, e.Setup.Options, e.Setup.Settings
	}
	return format(e, newPlayed(&r))
}

// format returns a recording as a transcript. Its prose has what the format has no place
// for.
func format(e *journal.Entry, p played) []byte {
	text := append(about(e), p.before...)
	if e.Client.IsValid() {
		text = append(strconv.AppendQuoteToASCII(append(text, "client = "...), e.Client.String()), '\n')
	}
	text = append(text, p.after...)
	for _, l := range e.Lines {
		text = append(append(text, l.String()...), '\n')
	}
	return text
}

// about returns the prose of a recording: which session it was, how it ended, and for
// each line its time and the rules that changed it.
func about(e *journal.Entry) []byte {
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
	line("Outcome", string(end.Outcome))
	if r := end.Refused; r.Code != 0 {
		line("Refused", r.Verb, " ", strconv.Itoa(r.Code), " ", journal.Printable(r.Text))
		line("Means", r.Means)
		line("Do", r.Do)
	}
	line("Server", end.Server)
	line("Hello", journal.Printable(end.Hello))
	line("Messages", strconv.Itoa(end.Messages), ", ", strconv.FormatInt(end.Octets, 10), " octets")
	line("Client TLS", end.ClientTLS)
	line("Server TLS", end.ServerTLS)
	line("Client AUTH", string(end.ClientAuth))
	line("Server AUTH", string(end.ServerAuth))
	var products []string
	for _, p := range end.Products {
		products = append(products, p.Name+" by "+string(p.By))
	}
	line("Products", strings.Join(products, ", "))
	line("Rules", times(end.Rules))
	line("Would", times(end.Would.Counts()))
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
	return append(b, '\n')
}

// times returns the names of rules, each with how often it acted.
func times(rules map[string]int) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		list = append(list, name+" "+strconv.Itoa(rules[name]))
	}
	return strings.Join(list, ", ")
}

// padded appends text, padded with blanks on the left to a width.
func padded(b []byte, width int, text string) []byte {
	for n := len(text); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, text...)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Dialogue is what a scripted client does. It is read from a file in the folder
// dialogues. A file is a group: one line of prose, and dialogues under headings "-- NAME
// --". The client reads the greeting first. These steps queue octets:
//
//	C, LINE          a line that gets a reply
//	M: LINE          a line that gets no reply of its own
//	O: "OCTETS"      octets that get no reply of their own
//	~ text N         at least N octets of text in lines, without a reply
//
// These steps send what is queued and read the replies to it:
//
//	C: LINE          first queue a line that gets a reply
//	~ hello          the same as C: EHLO client.example.com
//	~ envelope       the same as hello and then C: with MAIL, RCPT and DATA
//	~ recipients N   the same as N times C: with RCPT
//	~ expect N       read N more replies
//	~ tls            begin TLS afterwards
//	~ pause 100ms    wait afterwards
//	~ half close     close the sending side of the connection afterwards
//
// These are not steps but properties of the dialogue:
//
//	~ early          the client does not wait for the greeting
//	~ exact          smtpshim must not change the octets of the message
type Dialogue struct {
	Group, Name string
	Exact       bool
	Early       bool
	steps       []step
}

// A step is one line of a file: kind is "say", "queue", "octets", "expect", "tls",
// "pause" or "half".
type step struct {
	kind string
	text string
	n    int
	wait time.Duration
}

// Case returns the name of the dialogue in results, in the form GROUP/NAME.
func (d *Dialogue) Case() string { return d.Group + "/" + d.Name }

// readDialogues reads the files of a folder, in the order of their names.
func readDialogues(dir string) ([]*Dialogue, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*Dialogue
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		group := strings.TrimSuffix(filepath.Base(name), ".txt")
		var d *Dialogue
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			line = strings.TrimSuffix(line, "\n")
			if heading, ok := strings.CutPrefix(line, "-- "); ok {
				d = &Dialogue{Group: group, Name: strings.TrimSuffix(heading, " --")}
				all = append(all, d)
				continue
			}
			if number == 1 || line == "" {
				continue
			}
			err := fmt.Errorf("%q comes before the first heading", line)
			if d != nil {
				err = d.add(line)
			}
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, number, err)
			}
		}
	}
	return all, nil
}

// add reads one line.
func (d *Dialogue) add(line string) error {
	say := func(kind string, lines ...string) {
		for _, l := range lines {
			d.steps = append(d.steps, step{kind: kind, text: l + "\r\n", n: 1})
		}
	}
	margin, rest, _ := strings.Cut(line, " ")
	text, err := "", error(nil)
	if margin != "~" {
		if text, err = unquote(rest); err != nil {
			return err
		}
	}
	word, argument, _ := strings.Cut(rest, " ")
	switch margin {
	case "C:":
		say("say", text)
	case "C,":
		say("queue", text)
	case "M:":
		d.steps = append(d.steps, step{kind: "octets", text: text + "\r\n"})
	case "O:":
		d.steps = append(d.steps, step{kind: "octets", text: text})
	case "~":
		switch word {
		case "hello":
			say("say", "EHLO client.example.com")
		case "envelope":
			say("say", "EHLO client.example.com", "MAIL FROM:<anna@example.com>", "RCPT TO:<ben@example.com>", "DATA")
		case "exact":
			d.Exact = true
		case "early":
			d.Early = true
		case "tls", "half":
			d.steps = append(d.steps, step{kind: word})
		case "pause":
			wait, err := time.ParseDuration(argument)
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			d.steps = append(d.steps, step{kind: "pause", wait: wait})
		case "text", "recipients", "expect":
			n, err := strconv.Atoi(argument)
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			d.count(word, n)
		default:
			return fmt.Errorf("%q is no step", line)
		}
	default:
		return fmt.Errorf("%q is no step; one begins with C: C, M: O: or ~", line)
	}
	return nil
}

// count adds a step that is there n times, or for n octets.
func (d *Dialogue) count(word string, n int) {
	switch word {
	case "text":
		const line = "The quick brown fox jumps over the lazy dog, and so on until the line ends.\r\n"
		d.steps = append(d.steps, step{kind: "octets", text: strings.Repeat(line, n/len(line)+1)})
	case "recipients":
		for i := range n {
			d.steps = append(d.steps, step{kind: "say", text: fmt.Sprintf("RCPT TO:<ben%d@example.com>\r\n", i), n: 1})
		}
	case "expect":
		d.steps = append(d.steps, step{kind: "expect", n: n})
	}
}

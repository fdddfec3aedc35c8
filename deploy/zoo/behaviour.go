//go:build linux

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Behaviour is what the scripted server does. It is read from a file in the folder
// behaviours. The file begins with one line of prose. Events follow, each with the acts
// that answer it:
//
//	on EHLO
//	S: 250-zoo.example.com
//	S: 250 SIZE
//
// An event is "connect", the beginning of a command line, "text" (the first line of a
// message has come), "." (a message has ended) or "no recipients" (DATA without an
// accepted RCPT). If several events match a command, the longest is used. A file contains
// only what differs from base.txt. The acts are
//
//	S: LINE          say a line; Go-quoted, if it is more than printable ASCII
//	O: "OCTETS"      say octets as they are
//	~ pause 200ms    send what was said so far, and wait
//	~ split          send what is said in this event octet by octet
//	~ read           send what was said so far, and read a line
//	~ discard        throw away what the client has sent already
//	~ close          send what was said so far, and hang up
//	~ hang           say no more until the client hangs up
//
// What is said before one of the acts pause, read, discard, close and hang is sent in
// one write, and the rest at the end of the event. "{N}" in LINE or OCTETS, with N a
// number, stands for N times the letter x.
type Behaviour struct {
	Name   string
	About  string
	Login  bool // the client must log in: the file has the line "login"
	events map[string][]act
}

// An act is one line of a file: kind is "say", "pause", "split", "read", "discard",
// "close" or "hang".
type act struct {
	kind string
	text string
	wait time.Duration
}

// readBehaviours reads the files of a folder, in the order of their names.
func readBehaviours(dir string) ([]*Behaviour, error) {
	base, err := readBehaviour(filepath.Join(dir, "base.txt"), nil)
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	behaviours := []*Behaviour{base}
	for _, name := range names {
		if filepath.Base(name) == "base.txt" {
			continue
		}
		b, err := readBehaviour(name, base)
		if err != nil {
			return nil, err
		}
		behaviours = append(behaviours, b)
	}
	return behaviours, nil
}

func readBehaviour(name string, base *Behaviour) (*Behaviour, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	b := &Behaviour{Name: strings.TrimSuffix(filepath.Base(name), ".txt"), events: map[string][]act{}}
	if base != nil {
		b.events = maps.Clone(base.events)
	}
	event, number := "", 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\n")
		switch on, isEvent := strings.CutPrefix(line, "on "); {
		case number == 1:
			b.About = line
		case line == "":
		case line == "login":
			b.Login = true
		case isEvent:
			event = on
			b.events[event] = nil
		default:
			a, err := parseAct(line)
			if err == nil && event == "" {
				err = fmt.Errorf("%q comes before the first event", line)
			}
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, number, err)
			}
			b.events[event] = append(b.events[event], a)
		}
	}
	return b, nil
}

func parseAct(line string) (act, error) {
	if text, ok := strings.CutPrefix(line, "S: "); ok {
		text, err := unquote(text)
		return act{kind: "say", text: text + "\r\n"}, err
	}
	if text, ok := strings.CutPrefix(line, "O: "); ok {
		text, err := unquote(text)
		return act{kind: "say", text: text}, err
	}
	word, rest, _ := strings.Cut(strings.TrimPrefix(line, "~ "), " ")
	if !strings.HasPrefix(line, "~ ") || !slices.Contains([]string{"pause", "split", "read", "discard", "close", "hang"}, word) {
		return act{}, fmt.Errorf("%q is no act; one begins with \"S: \", \"O: \" or \"~ \"", line)
	}
	a := act{kind: word}
	if word == "pause" {
		wait, err := time.ParseDuration(rest)
		if err != nil {
			return act{}, fmt.Errorf("%q: %w", line, err)
		}
		a.wait = wait
	}
	return a, nil
}

// unquote reads text that is Go-quoted where it begins with a quotation mark. "{N}"
// in it, with N a number, stands for N times the letter x.
func unquote(text string) (string, error) {
	if strings.HasPrefix(text, `"`) {
		plain, err := strconv.Unquote(text)
		if err != nil {
			return "", fmt.Errorf("%s is not quoted as Go does", text)
		}
		text = plain
	}
	before, rest, ok := strings.Cut(text, "{")
	number, after, closed := strings.Cut(rest, "}")
	n, err := strconv.Atoi(number)
	if !ok || !closed || err != nil {
		return text, nil
	}
	return before + strings.Repeat("x", n) + after, nil
}

// on returns the acts for a command line.
func (b *Behaviour) on(line string) []act {
	best := ""
	for event := range b.events {
		if len(event) > len(best) && len(line) >= len(event) && strings.EqualFold(line[:len(event)], event) {
			best = event
		}
	}
	if best == "" {
		return []act{{kind: "say", text: "500 5.5.1 command not recognized\r\n"}}
	}
	return b.events[best]
}

package main

import (
	"errors"
	"fmt"
	"strings"
)

// A stale configuration is in force although its file has changed since, because
// the file could not be read or used.
type stale struct {
	why    string // in full: it may quote values of the file
	places string // without values, for those who need no password
}

// staleAfter describes a reload of the configuration that failed with err.
func staleAfter(path string, err error) *stale {
	const most = 3 // mistakes that are named
	whole, places := []string{err.Error()}, []string(nil)
	if list, ok := errors.AsType[mistakes](err); ok {
		whole = nil
		for _, m := range list[:min(len(list), most)] {
			whole = append(whole, m.Error())
			places = append(places, m.place())
		}
		if more := len(list) - most; more > 0 {
			whole = append(whole, fmt.Sprintf("%d more", more))
			places = append(places, fmt.Sprintf("%d more", more))
		}
	}
	const begin = "the configuration in force is older than "
	s := &stale{why: begin + path + ", which was not taken: " + strings.Join(whole, "; "), places: begin + "its file, which was not taken"}
	if len(places) > 0 {
		s.places += ": " + strings.Join(places, "; ")
	}
	s.places += "; smtpshim check says more"
	return s
}

// place says where a mistake is, without its file.
func (m mistake) place() string {
	switch {
	case m.line == 0:
		return m.key
	case m.key == "":
		return fmt.Sprintf("line %d", m.line)
	}
	return fmt.Sprintf("line %d: %s", m.line, m.key)
}

// staleness says why the configuration in force is older than its file; "": it is not.
func (p *instance) staleness() string {
	if s := p.stale.Load(); s != nil {
		return s.why
	}
	return ""
}

// publicStaleness is staleness for whoever may ask without a password.
func (p *instance) publicStaleness() string {
	s := p.stale.Load()
	switch {
	case s == nil:
		return ""
	case p.started.password == nil && p.started.hasPage(): // on this machine alone
		return s.why
	}
	return s.places
}

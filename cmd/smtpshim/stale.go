package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics/page"
)

// A stale says why the present configuration is older than its file: the file could not
// be read or used.
type stale struct {
	at     time.Time
	path   string
	errs   []string // the mistakes in full, which may quote values of the file
	why    string   // the same in one sentence
	places string   // without values, for readers without a password
}

// staleAfter describes a reload of the configuration that has just failed with err.
func staleAfter(path string, err error) *stale {
	const most = 3 // mistakes that are named
	whole, places := []string{err.Error()}, []string(nil)
	if list, ok := errors.AsType[config.Mistakes](err); ok {
		whole = nil
		for _, m := range list[:min(len(list), most)] {
			whole = append(whole, m.Error())
			places = append(places, placeOf(m, path))
		}
		if more := len(list) - most; more > 0 {
			whole = append(whole, fmt.Sprintf("%d more", more))
			places = append(places, fmt.Sprintf("%d more", more))
		}
	}
	const begin = "the configuration in force is older than "
	s := &stale{at: time.Now(), path: path, errs: whole, why: begin + path + ", which was not taken: " + strings.Join(whole, "; "), places: begin + "its file, which was not taken"}
	if len(places) > 0 {
		s.places += ": " + strings.Join(places, "; ")
	}
	s.places += "; smtpshim check says more"
	return s
}

// placeOf returns the position of a mistake, without the directory of its file, and without
// the file if that is the one at path.
func placeOf(m config.Mistake, path string) string {
	file := ""
	if m.File != path {
		file = filepath.Base(m.File) + ", "
	}
	switch {
	case m.Line == 0:
		return file + m.Key
	case m.Key == "":
		return fmt.Sprintf("%sline %d", file, m.Line)
	}
	return fmt.Sprintf("%sline %d: %s", file, m.Line, m.Key)
}

// failedReloads returns the failed reloads of the configuration and of certificates that
// no successful one has followed.
func (p *instance) failedReloads() []page.FailedReload {
	var list []page.FailedReload
	if s := p.stale.Load(); s != nil {
		list = append(list, page.FailedReload{What: "the configuration, " + s.path, At: s.at, Errs: s.errs})
	}
	for _, r := range p.config.Load().Routes {
		for _, s := range storesOf(r) {
			for _, f := range s.store.Failures() {
				what := fmt.Sprintf("the certificate %s, which the route %s shows to %ss", f.File, r.Name, s.side)
				list = append(list, page.FailedReload{What: what, At: f.At, Errs: []string{f.Err}})
			}
		}
	}
	return list
}

// publicStaleness says why the present configuration is older than its file, for readers
// without a password; "": it is not.
func (p *instance) publicStaleness() string {
	s := p.stale.Load()
	switch {
	case s == nil:
		return ""
	case p.started.Password == nil && p.started.HasPage(): // only this machine can read it
		return s.why
	}
	return s.places
}

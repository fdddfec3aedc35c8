package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// rehearse makes self-signed certificates as the program does when it starts, but in
// copies below temp, so that a check changes nothing.
func rehearse(temp string) config.MakeCertificates {
	return func(dir string, names ...string) ([]tlspolicy.Source, error) {
		trial, err := os.MkdirTemp(temp, "")
		if err != nil {
			return nil, err
		}
		err = os.CopyFS(trial, os.DirFS(dir))
		if at, ok := errors.AsType[*fs.PathError](err); ok && !filepath.IsAbs(at.Path) {
			err = &fs.PathError{Op: at.Op, Path: filepath.Join(dir, at.Path), Err: at.Err}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		sources, err := tlspolicy.SelfSigned(trial, names...)
		if err == nil && !sameFiles(dir, trial) {
			err = config.TryWriting(dir)
		}
		return sources, err
	}
}

// sameFiles reports whether dir has each file of trial with the same content.
func sameFiles(dir, trial string) bool {
	list, err := os.ReadDir(trial)
	for _, entry := range list {
		made, wrong := os.ReadFile(filepath.Join(trial, entry.Name()))
		before, missing := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err = errors.Join(err, wrong, missing); err == nil && !bytes.Equal(made, before) {
			return false
		}
	}
	return err == nil
}

// A tlsPrinter prints the TLS of one side.
type tlsPrinter struct {
	w    io.Writer
	now  time.Time
	once func(text string) string // returns text, or a reference to where it was printed
}

func (p tlsPrinter) line(name, text string) { entry(p.w, 4, name, 17, text) }

// client prints the TLS with clients.
func (p tlsPrinter) client(r *config.Route) {
	leg := r.Client
	if leg == nil {
		if r.ClientTLS.Mode == rewrite.ClientTLSPass && r.ServerTLS.Mode == rewrite.ServerTLSOff {
			p.lost(r)
		}
		return
	}
	p.config("", leg.Acceptor.Config(netip.Addr{}))
	for _, info := range leg.Store.Infos() {
		p.certificate(info, leg.SelfSigned)
	}
	if leg.ClientRoots != nil {
		asked := "clients may present a certificate; it must be signed by "
		if leg.RequireCertificate {
			asked = "clients must present a certificate signed by "
		}
		p.line("client CA", asked+authorities(leg.ClientRoots))
	}
	for _, a := range leg.Allow {
		p.allowance(a, "everybody")
		if len(a.Networks) > 0 {
			p.config("  ", leg.Acceptor.Config(a.Networks[0].Addr()))
		}
	}
}

// server prints the TLS with servers.
func (p tlsPrinter) server(r *config.Route) {
	leg := r.Server
	if leg == nil {
		return
	}
	p.config("", leg.Dialer.Config(""))
	if leg.KeyExchange != tlspolicy.AutoKeyExchange {
		p.line("key exchange", leg.Dialer.KeyExchange())
	}
	for _, pin := range leg.Pins {
		p.fingerprint("pin", pin)
	}
	if leg.Roots != nil {
		p.line("authorities", authorities(leg.Roots))
	}
	if leg.Store != nil {
		for _, info := range leg.Store.Infos() {
			p.certificate(info, "")
		}
	}
	for _, a := range leg.Allow {
		p.allowance(a, "the server")
	}
}

// lost prints the rules that no longer act once client and server have begun TLS with
// each other.
func (p tlsPrinter) lost(r *config.Route) {
	inClear := []string{"advertise-esmtp", "accept-early-tls", "greet-in-clear", "starttls-keyword", "fall-back-to-helo", "stray-bytes"}
	for _, rule := range idleRules(r) {
		inClear = append(inClear, rule.Name) // such a rule has no effect anyway
	}
	var lost []string
	for _, name := range r.Rules.Names() {
		if !slices.Contains(inClear, name) {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		p.line("costs", p.once("after STARTTLS smtpshim can read nothing, and these rules heal nothing: "+strings.Join(lost, ", ")))
	}
}

// config prints the versions and suites.
func (p tlsPrinter) config(indent string, c *tls.Config) {
	versions := "TLS " + tlspolicy.Version(c.MinVersion) + " to " + tlspolicy.Version(c.MaxVersion)
	switch {
	case c.MinVersion > c.MaxVersion:
		versions = "none: the maximum is old, and nothing old is allowed here and now"
	case c.MinVersion == c.MaxVersion:
		versions = "TLS " + tlspolicy.Version(c.MinVersion)
	}
	p.line(indent+"versions", versions)
	var sets []string
	suites := c.CipherSuites
	if c.MinVersion == tls.VersionTLS13 {
		suites = nil
	} else if others, all := without(suites, modernSuites()); all {
		sets, suites = append(sets, "modern (ECDHE with AES-GCM or ChaCha20)"), others
	}
	for _, id := range suites {
		sets = append(sets, tlspolicy.Suite(id))
	}
	if c.MaxVersion == tls.VersionTLS13 {
		sets = append(sets, "those of TLS 1.3")
	}
	p.line(indent+"ciphers", p.once(strings.Join(sets, ", ")))
}

// modernSuites returns the default suites.
func modernSuites() []uint16 {
	dialer, err := tlspolicy.NewDialer(tlspolicy.ServerLeg{})
	if err != nil {
		return nil
	}
	return dialer.Config("").CipherSuites
}

// without returns list without the elements of some. all reports whether list had all of
// these.
func without(list, some []uint16) (others []uint16, all bool) {
	for _, id := range list {
		if !slices.Contains(some, id) {
			others = append(others, id)
		}
	}
	return others, len(others)+len(some) == len(list)
}

// certificate prints a certificate of ours. own is the directory of self-signed ones,
// which may not exist yet.
func (p tlsPrinter) certificate(info tlspolicy.Info, own string) {
	file := info.Source
	if own != "" {
		file = filepath.Join(own, filepath.Base(file))
		trial, err := os.ReadFile(info.Source)
		if is, _ := os.ReadFile(file); err != nil || !bytes.Equal(is, trial) {
			p.line("certificate", fmt.Sprintf("%s: for %s; %s; is made when the program starts, and has its fingerprint then",
				file, strings.Join(info.Names, ", "), info.Key))
			return
		}
	}
	p.line("certificate", file+": "+p.described(info))
	p.fingerprint("SHA-256", info.Fingerprint)
}

// described returns the names, the issuer and the end of a certificate, in words.
func (p tlsPrinter) described(info tlspolicy.Info) string {
	names := strings.Join(info.Names, ", ")
	if names == "" {
		names = "no host name"
	}
	left := fmt.Sprintf("%s left", words.Plural(info.DaysLeft(p.now), "day"))
	if p.now.After(info.NotAfter) {
		left = "EXPIRED"
	}
	by := "by " + info.Issuer
	if info.SelfSigned {
		by = "by itself"
	}
	return fmt.Sprintf("for %s; %s; signed %s; until %s, %s", names, info.Key, by, info.NotAfter.Local().Format(time.DateOnly), left)
}

// fingerprint prints a fingerprint on a line of its own, for copying.
func (p tlsPrinter) fingerprint(name string, pin tlspolicy.Pin) {
	entry(p.w, 4, name, 13, hexadecimal(pin))
}

// hexadecimal returns a fingerprint without colons, which fits a line.
func hexadecimal(pin tlspolicy.Pin) string { return fmt.Sprintf("%x", [len(pin)]byte(pin)) }

// allowance prints which weakness is allowed, to whom, until when, and what is wrong with
// it.
func (p tlsPrinter) allowance(a tlspolicy.Allowance, whom string) {
	p.line("WEAK", config.Allowed(a, whom))
	for _, w := range a.Weaknesses.List() {
		entry(p.w, 17, "", 19, w.String()+": "+w.Doc())
	}
}

// authorities returns the authorities in words.
func authorities(roots *tlspolicy.Roots) string {
	var list []string
	for _, info := range roots.Infos() {
		list = append(list, fmt.Sprintf("%s (until %s)", info.Subject, info.NotAfter.Local().Format(time.DateOnly)))
	}
	return strings.Join(list, ", ")
}

func clientTLSMeans(r *config.Route) string {
	switch r.ClientTLS.Mode {
	case rewrite.ClientTLSPass:
		if r.ServerTLS.Mode != rewrite.ServerTLSOff {
			return "clients are not offered STARTTLS if the proxy uses it with the server"
		}
		return "STARTTLS is between client and server"
	case rewrite.ClientTLSHide:
		return "clients are never offered STARTTLS"
	case rewrite.ClientTLSOffer:
		return "clients may use STARTTLS, which ends here"
	case rewrite.ClientTLSRequire:
		return "clients must use STARTTLS, which ends here"
	default:
		return "connections begin with TLS, which ends here"
	}
}

func serverTLSMeans(r *config.Route) string {
	switch r.ServerTLS.Mode {
	case rewrite.ServerTLSOff:
		return "the proxy itself never sends STARTTLS to the server"
	case rewrite.ServerTLSOpportunistic:
		return "STARTTLS wherever the server offers it; the certificate is not verified"
	case rewrite.ServerTLSRequire:
		return "STARTTLS, or no mail; " + verified(r.Server)
	default:
		return "connections begin with TLS; " + verified(r.Server)
	}
}

// verified describes how a server's identity is verified.
func verified(leg *config.ServerLeg) string {
	known := tlspolicy.Weaknesses(0)
	for _, a := range leg.Allow {
		known |= a.Weaknesses
	}
	switch {
	case leg.Verification == tlspolicy.Unverified:
		return "the certificate is not verified"
	case len(leg.Pins) > 0:
		return "the certificate must be one that is pinned"
	case known.Has(tlspolicy.AnyName):
		return "the certificate may bear any name"
	case leg.ServerName != "":
		return "the certificate must be for " + leg.ServerName
	}
	return "the certificate must be for the name in servers"
}

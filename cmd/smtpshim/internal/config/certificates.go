package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/tlspolicy"
)

// roots reads the authorities in the files that key names; nil if it names none.
func (t *table) roots(key string, files []string) *tlspolicy.Roots {
	if len(files) == 0 {
		return nil
	}
	roots, err := tlspolicy.ReadRoots(files...)
	for _, err := range each(err) {
		t.wrongFile(key, err, "")
	}
	return roots
}

// each returns the errors that were joined into err, recursively.
func each(err error) (list []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, err := range joined.Unwrap() {
		list = append(list, each(err)...)
	}
	return list
}

// ownCertificates says where self-signed certificates are, and how they are made.
type ownCertificates struct {
	state *stateDir
	route string // the name of their route; "": the name is malformed
	make  MakeCertificates
}

// A MakeCertificates is a function such as [tlspolicy.SelfSigned]: it returns
// self-signed certificates for names, and keeps their files in the directory dir.
type MakeCertificates func(dir string, names ...string) ([]tlspolicy.Source, error)

// dir returns the directory for one route. Each route has its own, because its names may
// differ from those of others.
func (own ownCertificates) dir() string { return filepath.Join(own.state.path, own.route) }

// selfSigned returns the self-signed certificates; nil if there are to be none.
func (t *table) selfSigned(own ownCertificates, names []string) *tlspolicy.Store {
	before := len(t.mistakes)
	for _, name := range names {
		if net.ParseIP(name) == nil && !hostName.MatchString(name) {
			t.wrong("names", "%q is neither a name of a host nor an address", name)
		}
	}
	if len(names) == 0 {
		name, err := os.Hostname()
		if err != nil || !hostName.MatchString(name) {
			t.wrong("names", "is missing, and this machine has no name that a certificate could bear (%q)", name)
		}
		names = []string{name}
	}
	if own.state.path == "" {
		t.wrong("certificate", `"self-signed" needs a directory to be kept in; write for example state_dir = "/var/lib/smtpshim" at the top of the file`)
	}
	if len(t.mistakes) > before || own.route == "" {
		return nil
	}
	sources, err := own.make(own.dir(), names...)
	if err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			own.state.wrong(err)
		} else {
			t.wrong("certificate", "%v", err)
		}
		return nil
	}
	store, err := tlspolicy.NewStore(sources...)
	if err != nil {
		t.wrong("certificate", "%v", err)
	}
	return store
}

// An identities names the files of our certificates.
type identities struct {
	sources    []tlspolicy.Source
	selfSigned bool
}

// identities reads the names of files with certificates and keys.
func (t *table) identities() identities {
	certificates, keys := t.paths("certificate"), t.paths("key")
	bundles, passwords := t.paths("pkcs12"), t.paths("password_file")
	if text, _ := t.values["certificate"].(string); text == "self-signed" {
		for _, key := range []string{"key", "pkcs12", "password_file"} {
			if t.says(key) {
				t.wrong(key, `certificate = "self-signed" does not use it`)
			}
		}
		return identities{selfSigned: true}
	}
	var all identities
	if t.pairs("certificate", certificates, "key", keys) {
		for i, file := range certificates {
			all.sources = append(all.sources, tlspolicy.Source{Certificate: file, Key: nth(keys, i)})
		}
	}
	if t.pairs("pkcs12", bundles, "password_file", passwords) {
		for i, file := range bundles {
			all.sources = append(all.sources, tlspolicy.Source{PKCS12: file, PasswordFile: nth(passwords, i)})
		}
	}
	return all
}

// pairs reports whether there is one file in others for each of files, or none at all.
func (t *table) pairs(key string, files []string, other string, others []string) bool {
	if len(others) == 0 || len(others) == len(files) {
		return true
	}
	if t.says(key) == (len(files) > 0) { // the mistake was already reported
		t.wrong(other, "names %s, and %s %d; each has its own", words.Plural(len(others), "file"), key, len(files))
	}
	return false
}

// nth returns the n-th element of a list that may be empty.
func nth(list []string, n int) string {
	if len(list) == 0 {
		return ""
	}
	return list[n]
}

// paths reads the name of a file, or an array of names.
func (t *table) paths(key string) []string {
	var paths []string
	for _, name := range t.oneOrMore(key) {
		file := t.beside(name)
		paths = append(paths, file)
		if name != "self-signed" {
			t.places = append(t.places, Besides(file)...)
		}
	}
	return paths
}

// store reads our certificates; nil if there are none, or one is wrong.
func (t *table) store(sources []tlspolicy.Source) *tlspolicy.Store {
	if len(sources) == 0 {
		return nil
	}
	before := len(t.mistakes)
	for _, source := range sources {
		_, err := tlspolicy.NewStore(source)
		switch {
		case err == nil:
		case source.Key != "" && missing(source.Certificate) != nil && missing(source.Key) != nil: // err only has the first of them
			t.wrongFile("certificate", err, "")
			t.wrongFile("key", missing(source.Key), "")
		case source.Key == "" && missing(source.Certificate) != nil:
			t.wrongFile("certificate", err, "; where its key is in another file, key has to name that")
		case source.Certificate != "" && source.Key == "":
			t.wrongFile(keyOf(source, err), err, " (no key is named, so it has to be in the same file)")
		default:
			t.wrongFile(keyOf(source, err), err, "")
		}
	}
	if len(t.mistakes) > before {
		return nil
	}
	store, err := tlspolicy.NewStore(sources...)
	if err != nil { // the files have changed in between
		t.wrongFile(keyOf(sources[0], err), err, "")
	}
	return store
}

// missing returns the error that a file does not exist; nil if it does, or name is "".
func missing(name string) error {
	if _, err := os.Stat(name); name != "" && errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keyOf returns the key that names the file of an error.
func keyOf(source tlspolicy.Source, err error) string {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		switch at.Path {
		case source.Key:
			return "key"
		case source.PasswordFile:
			return "password_file"
		}
	}
	if source.PKCS12 != "" {
		return "pkcs12"
	}
	return "certificate"
}

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A file with a secret may be a credential that systemd passes to the service, in a
// directory of its own (systemd.exec(5), LoadCredential=).
const (
	credentials     = "${CREDENTIALS_DIRECTORY}/"
	credentialsName = "CREDENTIALS_DIRECTORY"
	// unitCredentials is the directory of the credentials of the unit in deploy/systemd
	// while it runs. When root checks the configuration, it finds there what the service
	// will read again.
	unitCredentials = "/run/credentials/smtpshim.service"
)

// beside returns the path of a file that the configuration names.
func (t *table) beside(name string) string {
	if credential, ok := strings.CutPrefix(name, credentials); ok {
		if dir := CredentialsDir(); dir != "" {
			return filepath.Join(dir, credential)
		}
		return name // it does not exist: see hintCredential
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(t.source.path), name)
}

// CredentialsDir returns the directory of the credentials that systemd passes to the
// service (LoadCredential=). That is the value of $CREDENTIALS_DIRECTORY. If this
// variable is not set, it is the directory of the unit smtpshim.service while that
// runs. The result is "" if there is no such directory, or if it cannot be read.
func CredentialsDir() string {
	if dir := os.Getenv(credentialsName); dir != "" {
		return dir
	}
	if _, err := os.ReadDir(unitCredentials); err == nil {
		return unitCredentials
	}
	return ""
}

// hintCredential returns what to add to an error about a missing credential of systemd;
// "" for any other file.
func hintCredential(path string, err error) string {
	name, dir := filepath.Base(path), CredentialsDir()
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return ""
	case strings.Contains(path, credentialsName) && (!strings.HasPrefix(path, credentials) || path == credentials):
		return "; a credential of systemd's is written " + credentials + "NAME"
	case strings.HasPrefix(path, credentials):
		return "; systemd sets " + credentialsName + " for a service with LoadCredential=" + name + ":FILE. To check without the service, " +
			"set it to a directory that has " + name
	case dir != "" && filepath.Dir(path) == filepath.Clean(dir):
		return "; the service needs LoadCredential=" + name + ":FILE, and has to be started again"
	}
	return ""
}

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files of secrets may be credentials that systemd hands to the service, in a directory
// of its own (systemd.exec(5), LoadCredential=).
const (
	credentials     = "${CREDENTIALS_DIRECTORY}/"
	credentialsName = "CREDENTIALS_DIRECTORY"
	// unitCredentials are those of the unit in deploy/systemd while that runs. Root sees
	// them there, who checks what the service is to read again.
	unitCredentials = "/run/credentials/smtpshim.service"
)

// beside is the path of a file that the configuration names.
func (t *table) beside(name string) string {
	if credential, ok := strings.CutPrefix(name, credentials); ok {
		if dir := credentialsDir(); dir != "" {
			return filepath.Join(dir, credential)
		}
		return name // no such file: see hintCredential
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(t.source.path), name)
}

// credentialsDir is where the credentials are; "": nowhere.
func credentialsDir() string {
	if dir := os.Getenv(credentialsName); dir != "" {
		return dir
	}
	if _, err := os.ReadDir(unitCredentials); err == nil {
		return unitCredentials
	}
	return ""
}

// hintCredential is what to add to an error about a file that is to be a credential of
// systemd's; "": it is none.
func hintCredential(path string, err error) string {
	name, dir := filepath.Base(path), credentialsDir()
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

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// warnSecret returns a warning if every user of this machine can read a file with a
// secret; "": they cannot, or it is not known.
func warnSecret(key, file string) string {
	if file == "" || !allRead(file) {
		return ""
	}
	return fmt.Sprintf("%s: every user of this machine can read %s. Let the user that smtpshim runs as own it, with mode 600: "+
		`"install -o smtpshim -g smtpshim -m 600" makes such a file.`, key, file)
}

// allRead reports whether the modes of a file, and of the directories above it, let
// everybody read it.
func allRead(file string) bool {
	if runtime.GOOS == "windows" { // the mode does not show it
		return false
	}
	path, err := filepath.EvalSymlinks(file)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	for want := os.FileMode(0o004); ; want = 0o001 {
		var info os.FileInfo
		if err == nil {
			info, err = os.Stat(path)
		}
		if err != nil || info.Mode()&want == 0 {
			return false
		}
		if path == filepath.Dir(path) {
			return true
		}
		path = filepath.Dir(path)
	}
}

// secretFiles returns the files with the credentials of an account, by their keys.
func (a *Account) secretFiles() [][2]string {
	list := [][2]string{{"password_file", a.passwordFile}}
	if t := a.OAuth; t != nil {
		list = append(list, [2]string{"client_secret_file", t.ClientSecretFile}, [2]string{"client_key", t.ClientKey}, [2]string{"key_file", t.KeyFile})
		if t.ClientKey == "" { // the key is in the file of the certificate
			list = append(list, [2]string{"client_certificate", t.ClientCertificate})
		}
	}
	return list
}

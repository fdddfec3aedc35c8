package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// service is the user that the packages and the units run smtpshim as.
const service = "smtpshim"

// wrongFile reports that the file named at key cannot be read. err has or wraps the
// error of the file system; any other error is reported as it is.
func (t *table) wrongFile(key string, err error, also string) {
	at, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		t.wrong(key, "%v%s", err, also)
		return
	}
	text := t.unreadableFile(at)
	if hint := hintCredential(at.Path, at); hint != "" {
		text = "there is no such file" + hint
	}
	t.wrong(key, "%s%s", strings.Replace(err.Error(), at.Error(), text, 1), also)
	t.mistakes[len(t.mistakes)-1].cause = err // its path shows whether it is out of reach
}

// wrongSecret is wrongFile for a file with a secret. A name of no existing file may be
// the secret itself, so it is not repeated.
func (t *table) wrongSecret(key string, err error) {
	at, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(err, fs.ErrNotExist) || hintCredential(at.Path, at) != "" {
		t.wrongFile(key, err, "")
		return
	}
	dir := fullPath(filepath.Dir(t.source.path))
	t.wrong(key, "there is no such file; the name of one is wanted, relative to %s, and not what is in it%s", dir,
		asRoot("makes one", "install", "-o", service, "-g", service, "-m", "600", "/dev/stdin", filepath.Join(dir, "NAME")))
	t.mistakes[len(t.mistakes)-1].cause = err
}

// unreadableFile returns why a file cannot be read, and what to do about it.
func (t *table) unreadableFile(err *fs.PathError) string {
	path := fullPath(err.Path)
	install := []string{"install", "-o", service, "-g", service, "-m", "600"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("there is no file %s%s", path, asRoot("copies FILE there for the service", append(install, "FILE", path)...))
	case !errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("reading %s: %v", path, err.Err)
	}
	text := fmt.Sprintf("%s may not read %s (%v)", presentUser(), path, err.Err)
	here := fullPath(filepath.Dir(t.source.path))
	inside, _ := filepath.Rel(here, path)
	if _, closed := os.Stat(path); closed == nil && filepath.IsLocal(inside) {
		return text + asRoot("lets the service read it", "chown", service+":"+service, path, "&&", "chmod", "600", path)
	}
	// Another program may need the owner and mode that the file has.
	copied := filepath.Join(here, filepath.Base(path))
	return text + asRoot("makes a copy for the service; name that here", append(install, path, copied)...)
}

// fullPath returns the absolute path of a file.
func fullPath(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// presentUser names the user that this process runs as.
func presentUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "user " + u.Username
	}
	return fmt.Sprintf("user %d", os.Geteuid())
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.,:=/&-]+$`)

// asRoot returns a hint that a command, run as root, does something; "" on Windows, which
// has no such commands.
func asRoot(does string, command ...string) string {
	if runtime.GOOS == "windows" {
		return ""
	}
	for i, word := range command {
		if !plainWord.MatchString(word) {
			command[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return fmt.Sprintf(`; as root, "%s" %s`, strings.Join(command, " "), does)
}

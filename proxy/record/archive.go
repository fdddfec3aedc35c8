package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"smtpshim/proxy/journal"
)

// A place is where the files of a route are.
type place struct{ dir, route string }

// An archive is the files of one route in one directory, and knows of them what
// was there when it looked last and what it has written since.
type archive struct {
	place
	bounds *Route
	files  []file // the oldest first
	octets int64  // of all

	played   played // of playedOf, which was written last
	playedOf *Route
}

type file struct {
	name   string
	octets int64
}

// archives are those that there are.
type archives map[place]*archive

// of is the archive of a route, which is opened if need be.
func (all archives) of(r *Route) *archive {
	p := place{r.Dir, r.Name}
	if all[p] == nil {
		all[p] = openArchive(r)
	}
	return all[p]
}

func openArchive(r *Route) *archive {
	a := &archive{place: place{r.Dir, r.Name}, bounds: r}
	a.look()
	return a
}

// look finds the files that are there: another process, from which we take over,
// may still write some. A directory that cannot be read has none: writing will tell.
func (a *archive) look() {
	a.files, a.octets = nil, 0
	list, _ := os.ReadDir(a.dir) // by name, and so by time
	for _, entry := range list {
		info, err := entry.Info()
		if _, ours := ended(entry.Name(), a.route); !ours || err != nil || !info.Mode().IsRegular() {
			continue
		}
		a.files = append(a.files, file{entry.Name(), info.Size()})
		a.octets += info.Size()
	}
}

// stamp is how a file's name begins: when the session ended.
const stamp = "20060102T150405.000Z"

// FileName is the name of a session's file. No session's name has a hyphen in it.
func FileName(e *journal.Entry) string {
	return e.Began.Add(e.End.Lasted).UTC().Format(stamp) + "-" + e.Route + "-" + e.ID + ".txt"
}

// Path is where the recording of a session is, if it has ended and there is one.
func (r *Route) Path(e *journal.Entry) string { return filepath.Join(r.Dir, FileName(e)) }

// ended reads from the name of a file when its session ended, if it is one of the
// route's.
func ended(name, route string) (at time.Time, ours bool) {
	if len(name) < len(stamp) {
		return at, false
	}
	at, err := time.Parse(stamp, name[:len(stamp)])
	rest, ok := strings.CutPrefix(name[len(stamp):], "-"+route+"-")
	id, text := strings.CutSuffix(rest, ".txt")
	return at, err == nil && ok && text && id != "" && !strings.Contains(id, "-")
}

// write writes a recording, and makes room for it before.
func (a *archive) write(r recording) error {
	if a.playedOf != r.route {
		a.playedOf, a.played = r.route, newPlayed(r.route)
	}
	text := format(r.entry, a.played)
	f := file{FileName(r.entry), int64(len(text))}
	if err := a.trim(f.octets, time.Now()); err != nil {
		return err
	}
	path := filepath.Join(a.dir, f.name)
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	a.files = append(a.files, f)
	a.octets += f.octets
	return nil
}

// trim removes the oldest files until what is left is within the bounds, with one
// more file of so many octets if that is not 0.
func (a *archive) trim(more int64, now time.Time) error {
	for len(a.files) > 0 {
		b, count := a.bounds, len(a.files)
		if more > 0 {
			count++
		}
		at, _ := ended(a.files[0].name, a.route)
		if (b.Keep == 0 || count <= b.Keep) && (b.Age == 0 || now.Sub(at) <= b.Age) && a.octets+more <= b.Octets {
			break
		}
		if err := os.Remove(filepath.Join(a.dir, a.files[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		a.octets -= a.files[0].octets
		a.files = a.files[1:]
	}
	return nil
}

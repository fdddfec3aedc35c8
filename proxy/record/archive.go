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

// A place identifies the files of a route.
type place struct{ dir, route string }

// An archive is the files of one route in one directory: those that were there at the
// last look, and those written since.
type archive struct {
	place
	bounds *Route
	files  []file // oldest first
	octets int64  // octets of all files

	played   played // the setup of playedOf, as written last
	playedOf *Route
}

type file struct {
	name   string
	octets int64
}

// archives are the archives in use.
type archives map[place]*archive

// of returns the archive of a route, which it opens if necessary.
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

// look lists the files that are there. Another process, from which this one takes over,
// may still write some. If the directory cannot be read, look finds none; the next write
// reports the error.
func (a *archive) look() {
	a.files, a.octets = nil, 0
	list, _ := os.ReadDir(a.dir) // sorted by name, and so by time
	for _, entry := range list {
		info, err := entry.Info()
		if _, ours := ended(entry.Name(), a.route); !ours || err != nil || !info.Mode().IsRegular() {
			continue
		}
		a.files = append(a.files, file{entry.Name(), info.Size()})
		a.octets += info.Size()
	}
}

// stamp is the format of the time at the beginning of a file name, the end of the
// session.
const stamp = "20060102T150405.000Z"

// FileName returns the name, without directory, of the file for a recording of the
// ended session e: the time of its end, its route and its ID, joined by hyphens, and
// ".txt". Session IDs contain no hyphen.
func FileName(e *journal.Entry) string {
	return e.Began.Add(e.End.Lasted).UTC().Format(stamp) + "-" + e.Route + "-" + e.ID + ".txt"
}

// Path returns the path of the file for a recording of e, an ended session of the route
// r. It does not check that there is such a file.
func (r *Route) Path(e *journal.Entry) string { return filepath.Join(r.Dir, FileName(e)) }

// ended returns the time in the name of a file. ours reports whether the file is one of
// the route.
func ended(name, route string) (at time.Time, ours bool) {
	if len(name) < len(stamp) {
		return at, false
	}
	at, err := time.Parse(stamp, name[:len(stamp)])
	rest, ok := strings.CutPrefix(name[len(stamp):], "-"+route+"-")
	id, text := strings.CutSuffix(rest, ".txt")
	return at, err == nil && ok && text && id != "" && !strings.Contains(id, "-")
}

// write makes room for a recording and writes it.
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

// trim removes the oldest files until the rest is within the limits. If more is not 0, it
// makes room for another file of that many octets.
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

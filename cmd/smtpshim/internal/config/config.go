package config

import (
	"log/slog"
	"regexp"
	"time"

	"smtpshim/metrics"
	"smtpshim/rewrite/oneof"
)

// A Config is the content of a configuration file and of the files that it includes,
// with defaults for what they omit.
type Config struct {
	Drain    time.Duration     // how long messages in transit may take when smtpshim stops
	Admin    string            // address of the admin listener; "": there is none
	Profiles bool              // the admin listener also serves /debug/pprof/
	Password *metrics.Password // password of the admin listener; nil: none
	Level    slog.Level
	Format   string // format of the log: "text" or "json"
	// LockIn is true if the program restricts itself by Landlock. It can then reach
	// only Places, and the files that it needs with every configuration.
	LockIn   bool
	Places   []Place
	Included []string // paths of the included files, which have routes and accounts
	Accounts []*Account
	Routes   []*Route
}

// Route returns the route called name; nil if there is none.
func (c *Config) Route(name string) *Route {
	for _, r := range c.Routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Read returns the configuration in the file at path and in the files that it includes.
// If path cannot be read, the error says why. If the files have mistakes, the error is
// of type [Mistakes] and has all of them, except those that may follow from others.
// Read calls selfSigned to make the self-signed certificates that the configuration
// asks for.
func Read(path string, selfSigned MakeCertificates) (*Config, error) {
	t, err := openSource(path)
	if err != nil {
		return nil, err
	}
	c, more := readSettings(t, selfSigned)
	all := t.wrongs()
	for _, file := range more {
		all = append(all, file.wrongs()...)
	}
	if len(all) > 0 {
		return c, all
	}
	return c, nil
}

// readSettings reads the outermost table, and those of the included files, which it
// returns as more. This function and those that it calls are the schema.
func readSettings(t *table, made MakeCertificates) (c *Config, more []*table) {
	c = &Config{Drain: t.duration("drain", 30*time.Second, 0, time.Hour),
		LockIn: t.boolean("lock_in", true)}

	taken := listeners{}
	readAdmin(t.table("admin"), c, taken)

	log := t.table("log")
	level := logLevel{slog.LevelInfo}
	log.word("level", &level)
	format := logFormat("text")
	log.word("format", &format)
	c.Level, c.Format = level.Level, string(format)
	log.done()

	state := &stateDir{path: t.beside(t.text("state_dir", "")), table: t}
	t.reach(state.path, writing)
	more = t.included()
	files := append([]*table{t}, more...)
	names := map[string]*table{}
	for _, a := range tablesOf(files, "account") {
		account := readAccount(a, state)
		checkName(a, account.Name, "account", "office", names)
		c.Accounts = append(c.Accounts, account)
		a.done()
	}
	names, hasRoute := map[string]*table{}, false
	for _, r := range tablesOf(files, "route") {
		route := readRoute(r, taken, state, made, c.Accounts)
		checkName(r, route.Name, "route", "in", names)
		c.Routes = append(c.Routes, route)
		r.done()
	}
	for _, file := range files {
		for key := range file.values { // a misspelt key is reported as such
			hasRoute = hasRoute || oneof.Nearest(key, []string{"route"}) != ""
		}
	}
	t.done()
	c.Places = t.places
	for _, file := range more {
		file.onlyParts(t.source.path)
		c.Included = append(c.Included, file.source.path)
		c.Places = append(c.Places, file.places...)
	}
	if !hasRoute && len(t.unread) == 0 {
		t.noRoute()
	}
	return c, more
}

// noRoute reports that there is no route, either here or in the included files.
func (t *table) noRoute() {
	const write = "write [[route]] and below it name, listen and servers"
	after := []string{"include"}
	if dir, _ := t.values["include"].(string); dir != "" {
		t.follows(after, "", "there is no route: neither this file nor a *.toml in %s has one; %s", dir, write)
		return
	}
	t.follows(after, "", "there is no route; %s", write)
}

var routeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkName reports a name that is malformed or taken. names has the tables with earlier
// names.
func checkName(t *table, name, what, example string, names map[string]*table) {
	switch first, taken := names[name]; {
	case !t.has("name"):
		t.follows(nil, "name", `is missing; write for example name = %q`, example)
	case !routeName.MatchString(name):
		if _, ok := t.values["name"].(string); ok {
			t.wrong("name", "%q is no name; letters, digits, dots, hyphens and underscores are wanted, at most 63", name)
		}
	case taken:
		t.wrong("name", "%q is also the name of the %s on %s; each needs its own", name, what, first.placeFor(t))
	default:
		names[name] = t
	}
}

// A logFormat is the format of the log.
type logFormat string

func (f *logFormat) UnmarshalText(text []byte) error {
	return chooseWord(f, text, "text", "json")
}

// A logLevel accepts only plain words; slog.Level also accepts "INFO+2".
type logLevel struct{ slog.Level }

func (l *logLevel) UnmarshalText(text []byte) error {
	var word string
	if err := chooseWord(&word, text, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return l.Level.UnmarshalText([]byte(word))
}

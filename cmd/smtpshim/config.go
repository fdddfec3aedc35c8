package main

import (
	"log/slog"
	"regexp"
	"time"

	"smtpshim/metrics"
	"smtpshim/rewrite/oneof"
)

// A config is what a configuration file says. Every field holds: what the file
// leaves out has its default.
type config struct {
	drain    time.Duration     // how long messages under way may take when we stop
	admin    string            // host:port of the admin listener; "": none
	profiles bool              // it serves /debug/pprof/ too
	password *metrics.Password // that it asks for; nil: none
	level    slog.Level
	format   logFormat
	lockIn   bool // reaches nothing but places, and what every configuration needs
	places   []place
	included []string // files that it has routes and accounts from, besides its own
	accounts []*account
	routes   []*route
}

// readConfig reads the file at path. An error about what it says is mistakes:
// all of them. Certificates of our own making are made by made.
func readConfig(path string, made makeCertificates) (*config, error) {
	t, err := openSource(path)
	if err != nil {
		return nil, err
	}
	c, more := readSettings(t, made)
	all := t.wrongs()
	for _, file := range more {
		all = append(all, file.wrongs()...)
	}
	if len(all) > 0 {
		return c, all
	}
	return c, nil
}

// readSettings reads the outermost table, and those of the files that it includes, which
// it returns; it and the functions it calls are the schema.
func readSettings(t *table, made makeCertificates) (c *config, more []*table) {
	c = &config{drain: t.duration("drain", 30*time.Second, 0, time.Hour), format: "text",
		lockIn: t.boolean("lock_in", true)}

	taken := listeners{}
	readAdmin(t.table("admin"), c, taken)

	log := t.table("log")
	level := logLevel{slog.LevelInfo}
	log.word("level", &level)
	log.word("format", &c.format)
	c.level = level.Level
	log.done()

	state := t.beside(t.text("state_dir", ""))
	t.reach(state, writing)
	more = t.included()
	files := append([]*table{t}, more...)
	names := map[string]*table{}
	for _, a := range tablesOf(files, "account") {
		account := readAccount(a, state)
		checkName(a, account.Name, "account", "office", names)
		c.accounts = append(c.accounts, account)
		a.done()
	}
	names, hasRoute := map[string]*table{}, false
	for _, r := range tablesOf(files, "route") {
		route := readRoute(r, taken, state, made, c.accounts)
		checkName(r, route.Name, "route", "in", names)
		c.routes = append(c.routes, route)
		r.done()
	}
	for _, file := range files {
		for key := range file.values { // a misspelt one is said to be that
			hasRoute = hasRoute || oneof.Nearest(key, []string{"route"}) != ""
		}
	}
	t.done()
	c.places = t.places
	for _, file := range more {
		file.onlyParts(t.source.path)
		c.included = append(c.included, file.source.path)
		c.places = append(c.places, file.places...)
	}
	if !hasRoute && len(t.unread) == 0 {
		t.noRoute()
	}
	return c, more
}

// noRoute notes that there is no route, here or in the files that are included.
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

// checkName notes a name that is wrong or taken; names has the tables of those before.
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

// A logFormat is how the log is written.
type logFormat string

func (f *logFormat) UnmarshalText(text []byte) error {
	return chooseWord(f, text, "text", "json")
}

// A logLevel takes only the plain words; slog's own would also take "INFO+2".
type logLevel struct{ slog.Level }

func (l *logLevel) UnmarshalText(text []byte) error {
	var word string
	if err := chooseWord(&word, text, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return l.Level.UnmarshalText([]byte(word))
}

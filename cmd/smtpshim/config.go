package main

import (
	"log/slog"
	"regexp"
	"time"

	"smtpshim/metrics"
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
	c := readSettings(t, made)
	return c, t.err()
}

// readSettings reads the outermost table; it and the functions it calls are
// the schema.
func readSettings(t *table, made makeCertificates) *config {
	c := &config{drain: t.duration("drain", 30*time.Second, 0, time.Hour), format: "text",
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
	names := map[string]int{}
	for _, a := range t.tables("account") {
		account := readAccount(a, state)
		checkName(a, account.Name, "account", "office", names)
		c.accounts = append(c.accounts, account)
		a.done()
	}
	names = map[string]int{}
	for _, r := range t.tables("route") {
		route := readRoute(r, taken, state, made, c.accounts)
		checkName(r, route.Name, "route", "in", names)
		c.routes = append(c.routes, route)
		r.done()
	}
	if !t.has("route") {
		t.wrong("", "there is no route; write [[route]] and below it name, listen and servers")
	}
	t.done()
	c.places = t.places
	return c
}

var routeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkName notes a name that is wrong or taken; names has the lines of those
// before.
func checkName(t *table, name, what, example string, names map[string]int) {
	switch line, taken := names[name]; {
	case !t.has("name"):
		t.wrong("name", `is missing; write for example name = %q`, example)
	case !routeName.MatchString(name):
		if _, ok := t.values["name"].(string); ok {
			t.wrong("name", "%q is no name; letters, digits, dots, hyphens and underscores are wanted, at most 63", name)
		}
	case taken:
		t.wrong("name", "%q is also the name of the %s on line %d; each needs its own", name, what, line)
	default:
		names[name] = t.lines.line(t.path)
	}
}

// A logFormat is how the log is written.
type logFormat string

func (f *logFormat) UnmarshalText(text []byte) error {
	word, err := oneOf(string(text), "text", "json")
	*f = logFormat(word)
	return err
}

// A logLevel takes only the plain words; slog's own would also take "INFO+2".
type logLevel struct{ slog.Level }

func (l *logLevel) UnmarshalText(text []byte) error {
	word, err := oneOf(string(text), "debug", "info", "warn", "error")
	if err != nil {
		return err
	}
	return l.Level.UnmarshalText([]byte(word))
}

package config

import (
	"strings"

	"smtpshim/metrics"
)

// DefaultAdmin is the default address of the admin listener.
const DefaultAdmin = "127.0.0.1:9525"

// AdminListen returns the address of the admin listener according to the file at path.
// It returns DefaultAdmin if the file has no address, and "" if the file turns the
// listener off. err is not nil if the file cannot be read or is not TOML. Other
// mistakes in the file are ignored.
func AdminListen(path string) (address string, err error) {
	t, err := openSource(path)
	if err != nil {
		return "", err
	}
	return t.table("admin").text("listen", DefaultAdmin), nil
}

// readAdmin reads the table of the admin listener.
func readAdmin(t *table, c *Config, taken listeners) {
	c.Admin = t.text("listen", DefaultAdmin)
	public := t.boolean("public", false)
	c.Profiles = t.boolean("pprof", false)
	c.Password = readPassword(t)
	if _, ok := SocketPath(c.Admin); ok || strings.HasPrefix(c.Admin, SystemdPrefix) {
		t.wrong("listen", "%q is no address; host:port is wanted here", c.Admin)
		c.Admin = ""
	}
	if checkAddress(c.Admin, forAdmin) == nil && !IsLoopback(c.Admin) && !public && c.Password == nil {
		t.wrong("listen", "%q can be reached from other machines, and there is no password; set user and password_hash, "+
			"or write public = true to have the metrics there without one, and no page", c.Admin)
	}
	if c.Admin != "" {
		taken.add(t, "listen", c.Admin, forAdmin, owner{name: "the admin listener"})
	}
	t.done()
}

// readPassword returns the password of the admin listener; nil if there is none.
func readPassword(t *table) *metrics.Password {
	user, hash := t.text("user", ""), t.text("password_hash", "")
	if user == "" && hash == "" {
		return nil
	}
	if user == "" {
		t.follows(nil, "user", "is missing; a password needs a user")
	} else if strings.Contains(user, ":") {
		t.wrong("user", "%q has a colon, where the name would end (RFC 7617)", user)
	}
	if err := metrics.CheckHash(hash); err != nil {
		t.wrong("password_hash", "%v", err)
	}
	return &metrics.Password{User: user, Hash: []byte(hash)}
}

// HasPage reports whether the admin listener serves the status page. The page shows
// dialogues, which contain people's addresses. It is therefore served only if a
// password protects it, or if only this machine can reach it.
func (c *Config) HasPage() bool { return c.Password != nil || IsLoopback(c.Admin) }

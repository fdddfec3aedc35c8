package main

import (
	"strings"

	"smtpshim/metrics"
)

// adminListen is the default address of the admin listener.
const adminListen = "127.0.0.1:9525"

// readAdminListen reads the address of the admin listener from the file at path, whatever
// else the file says; "": there is none.
func readAdminListen(path string) (address string, err error) {
	t, err := openSource(path)
	if err != nil {
		return "", err
	}
	return t.table("admin").text("listen", adminListen), nil
}

// readAdmin reads the table of the admin listener.
func readAdmin(t *table, c *config, taken listeners) {
	c.admin = t.text("listen", adminListen)
	public := t.boolean("public", false)
	c.profiles = t.boolean("pprof", false)
	c.password = readPassword(t)
	if _, ok := socketPath(c.admin); ok || strings.HasPrefix(c.admin, systemdPrefix) {
		t.wrong("listen", "%q is no address; host:port is wanted here", c.admin)
		c.admin = ""
	}
	if checkAddress(c.admin, forAdmin) == nil && !isLoopback(c.admin) && !public && c.password == nil {
		t.wrong("listen", "%q can be reached from other machines, and there is no password; set user and password_hash, "+
			"or write public = true to have the metrics there without one, and no page", c.admin)
	}
	if c.admin != "" {
		taken.add(t, "listen", c.admin, forAdmin, owner{name: "the admin listener"})
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
		t.follows(nil, "user", "is missing; whoever has a password has a name")
	} else if strings.Contains(user, ":") {
		t.wrong("user", "%q has a colon, where the name would end (RFC 7617)", user)
	}
	if err := metrics.CheckHash(hash); err != nil {
		t.wrong("password_hash", "%v", err)
	}
	return &metrics.Password{User: user, Hash: []byte(hash)}
}

// hasPage reports whether the admin listener shows dialogues. They contain people's
// addresses, so not everybody may see them.
func (c *config) hasPage() bool { return c.password != nil || isLoopback(c.admin) }

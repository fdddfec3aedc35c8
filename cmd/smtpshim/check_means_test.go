package main

import (
	"strings"
	"testing"
)

func TestCheckTellsOfTheNetwork(t *testing.T) {
	c := readText(t, `
[[route]]
name = "hidden"
listen = ["systemd:smtp", ":2525"]
servers = ["original-destination"]
transparent = true
source = "client"
original_destination.networks = ["192.0.2.0/24", "::/0"]

[[route]]
name = "fixed"
listen = ["127.0.0.1:2526"]
servers = ["192.0.2.1:25", "mail.example.com:25"]
source = "::ffff:192.0.2.9"
`)
	var out strings.Builder
	for _, r := range c.Routes {
		printRoute(&out, r, said{})
	}
	for _, want := range []string{"TPROXY", "192.0.2.0/24, ::/0", "client's address", "dialled from 192.0.2.9"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("check does not say %q:\n%s", want, &out)
		}
	}
}

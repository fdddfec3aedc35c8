package rewrite

import (
	"strings"
	"testing"
)

func TestWhatIsNoNetworkSaysWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/33":                      "the number of bits behind the slash of an IPv4 network is 0 to 32",
		"192.0.2.0/":                        "the number of bits behind the slash of an IPv4 network is 0 to 32",
		"2001:db8::/129":                    "the number of bits behind the slash of an IPv6 network is 0 to 128",
		"192.0.2.0/255.255.255.0":           `write "192.0.2.0/24"`,
		"192.0.2.0/255.0.255.0":             "the number of bits behind the slash of an IPv4 network is 0 to 32",
		"192.0.2.64-80":                     `write "192.0.2.64/28", "192.0.2.80"`,
		"192.0.2.64-192.0.2.80":             `write "192.0.2.64/28", "192.0.2.80"`,
		"192.0.2.64 - 192.0.2.80":           `write "192.0.2.64/28", "192.0.2.80"`,
		"192.0.2.63-66":                     `write "192.0.2.63", "192.0.2.64/31", "192.0.2.66"`,
		"192.0.2.0-255":                     `write "192.0.2.0/24"`,
		"0.0.0.0-255.255.255.255":           `write "0.0.0.0/0"`,
		"192.0.2.7-7":                       `write "192.0.2.7"`,
		"2001:db8::-2001:db8::ff":           `write "2001:db8::/120"`,
		"::ffff:192.0.2.0-::ffff:192.0.2.1": `write "192.0.2.0/31"`,
		"2001:db8::1-2001:db8::ffff:fffe":   `it takes more than 16 networks; a single one with these addresses, and others, is "2001:db8::/96"`,
		"192.0.2.80-64":                     `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"192.0.2.0-2001:db8::1":             `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"::1-::ffff:192.0.2.5":              `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"::ffff:192.0.2.1-2001:db8::1":      `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"::ffff:128.0.0.0-2001:db8::1":      `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"192.0.2.0-256":                     `write for example "192.0.2.0/24" or "2001:db8::/32"`,
		"printers":                          `write for example "192.0.2.0/24" or "2001:db8::/32"`,
	} {
		if _, err := ParseNetwork(text); err == nil || !strings.HasSuffix(err.Error(), " is not a network; "+want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestAModeOfAnotherProgramSaysWhichIsMeant(t *testing.T) {
	var client ClientTLS
	var server ServerTLS
	for text, want := range map[string][2]string{
		"starttls": {`"offer" offers STARTTLS to clients, and "require" also makes them use it`,
			`"require" uses STARTTLS or sends no mail, and "opportunistic" uses it if the server offers it`},
		"STARTTLS": {`"offer" offers`, `"require" uses`},
		"smtps":    {`"implicit" is for connections that begin with TLS`, `"implicit" is for connections that begin with TLS`},
		"offr":     {`did you mean "offer"?`, ""},
		"none":     {`"hide" does not offer STARTTLS to clients`, `"off" never begins TLS with the server`},
	} {
		if err := client.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "; "+want[0]) {
			t.Errorf("client_tls %q: got %v, want %s", text, err, want[0])
		}
		if err := server.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want[1]) {
			t.Errorf("server_tls %q: got %v, want %s", text, err, want[1])
		}
	}
}

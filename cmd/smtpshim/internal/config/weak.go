package config

import (
	"time"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// protocol reads which TLS may be used. networks is the key that limits a weakness to
// some peers; "": there is none.
func (t *table) protocol(networks string) tlspolicy.Protocol {
	var p tlspolicy.Protocol
	p.Minimum, p.Maximum = t.version("minimum"), t.version("maximum")
	if words := t.oneOrMore("ciphers"); len(words) > 0 {
		before := len(t.mistakes)
		for _, word := range words {
			if _, err := tlspolicy.ParseCiphers(word); err != nil {
				t.wrong("ciphers", "%v", err)
			}
		}
		if len(t.mistakes) == before {
			var err error
			if p.Ciphers, err = tlspolicy.ParseCiphers(words...); err != nil {
				t.wrong("ciphers", "%v", err)
			}
		}
	}
	for _, weak := range t.tables("weak") {
		p.Allow = append(p.Allow, readAllowance(weak, networks))
	}
	return p
}

// version reads a version of TLS; 0: none.
func (t *table) version(key string) uint16 {
	text := t.text(key, "")
	if text == "" {
		return 0
	}
	version, err := tlspolicy.ParseVersion(text)
	if err != nil {
		t.wrong(key, "%v", err)
	}
	return version
}

// readAllowance reads [[route.client_tls.weak]] or [[route.server_tls.weak]].
func readAllowance(t *table, networks string) tlspolicy.Allowance {
	defer t.done()
	var a tlspolicy.Allowance
	names := t.oneOrMore("allow")
	for _, name := range names {
		weakness, err := tlspolicy.ParseWeakness(name)
		if err != nil {
			t.wrong("allow", "%v", err)
		}
		a.Weaknesses |= weakness
	}
	if _, wrong := t.values["allow"].(string); len(names) == 0 && (!t.has("allow") || wrong || !t.says("allow")) {
		t.follows(nil, "allow", `is missing; write for example allow = ["obsolete-tls-1.0"]; there are %s`, tlspolicy.AllWeaknesses())
	}
	if networks != "" {
		for _, text := range t.texts(networks) {
			network, err := rewrite.ParseNetwork(text)
			if err != nil {
				t.wrong(networks, "%v", err)
				continue
			}
			a.Networks = append(a.Networks, network)
		}
		if list, ok := t.values[networks].([]any); ok && len(list) == 0 {
			t.wrong(networks, "is empty; leave it out to mean everybody")
		}
	}
	a.Until = t.lastMoment("until")
	var then afterwards
	t.word("then", &then)
	a.RefuseAfter = then == "refuse"
	if t.has("then") && !t.has("until") {
		t.wrong("then", "decides what happens after the day until, which is missing")
	}
	return a
}

// lastMoment reads a day and returns the last moment of it in local time. In any format
// it is printed as that day.
func (t *table) lastMoment(key string) time.Time {
	const want = "a day such as 2027-01-31"
	var day time.Time
	switch v := t.ask(key).(type) {
	case nil:
		return time.Time{}
	case time.Time:
		if v.Location().String() != "date-local" { // the decoder's name for a day
			t.wrong(key, "%s is wanted, without a time", want)
			return time.Time{}
		}
		day = v
	case string:
		var err error
		if day, err = time.Parse(time.DateOnly, v); err != nil {
			t.wrong(key, "%q is no day; %s is wanted", v, want)
			return time.Time{}
		}
	default:
		t.wrong(key, "%s is wanted, not %s", want, describe(v))
		return time.Time{}
	}
	return time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, time.Local).Add(-time.Nanosecond)
}

// An afterwards says what happens to an allowance after its end.
type afterwards string

func (a *afterwards) UnmarshalText(text []byte) error {
	return chooseWord(a, text, "warn", "refuse")
}

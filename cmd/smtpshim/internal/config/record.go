package config

import (
	"fmt"
	"slices"
	"time"

	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/rewrite"
)

// The default limits of recordings.
const (
	recordAge    = 7 * 24 * time.Hour
	recordOctets = 100 << 20
)

// readRecord reads [route.record] of the route in t. All else of the route has already
// been read. nil: nothing is recorded.
func readRecord(t *table, r *Route) *record.Route {
	from := t.table("record")
	defer from.done()
	rec := &record.Route{Name: r.Name, Dir: from.text("dir", ""), Clients: networks(from, "clients"),
		OnlyHealed: from.boolean("only_healed", false), OnlyFailed: from.boolean("only_failed", false),
		Octets: from.octets("max_size", recordOctets, 1<<20, 1<<40)}
	switch kept := from.ask("keep").(type) {
	case nil:
		rec.Age = recordAge
	case string:
		rec.Age = from.duration("keep", recordAge, time.Minute, 10*365*24*time.Hour)
	case int64:
		rec.Keep = from.number("keep", 1, 1, 10_000_000)
	default:
		from.wrong("keep", `a duration such as "168h" or a number of files is wanted, not %s`, describe(kept))
	}
	if rec.Dir == "" {
		if len(from.values) > 0 && !from.has("dir") {
			from.follows([]string{"dir"}, "", `dir is missing: where recordings are written, as in dir = "/var/lib/smtpshim/recorded"`)
		}
		return nil
	}
	rec.Dir = from.beside(rec.Dir)
	from.reach(rec.Dir, writing)
	if err := rec.Check(); err != nil {
		from.wrongTarget("dir", rec.Dir, "700", err)
	}
	setup := r.Setup()
	rec.Rules, rec.Options, rec.Settings = setup.Rules, setup.Options, setup.Settings
	return rec
}

// Setup returns the rules in force on r, their options, and other settings of r that
// affect dialogues. A recording contains them, so that its dialogue can be played
// again.
func (r *Route) Setup() *journal.Setup {
	return &journal.Setup{Rules: playedRules(r), Options: playedOptions(r), Settings: playedSettings(r)}
}

// playedRules returns names with which the same rules act when the dialogue is played.
func playedRules(r *Route) []string {
	if looksForProducts(r) {
		return r.Rules.Chosen()
	}
	return r.Rules.Names()
}

// looksForProducts reports whether products shown in a session decide which rules act.
func looksForProducts(r *Route) bool { return len(r.Rules.Products()) > 0 }

// playedOptions returns the options of the rules in force, for a transcript.
func playedOptions(r *Route) map[string]map[string]any {
	all := map[string]map[string]any{}
	for _, rule := range r.Rules.Names() {
		for name, v := range r.options[rule] {
			if all[rule] == nil {
				all[rule] = map[string]any{}
			}
			if table, ok := v.(map[string]any); ok {
				texts := map[string]string{}
				for key, text := range table {
					texts[key] = fmt.Sprint(text)
				}
				v = texts
			}
			if list, ok := v.([]any); ok {
				texts := make([]string, 0, len(list))
				for _, text := range list {
					texts = append(texts, fmt.Sprint(text))
				}
				v = texts
			}
			all[rule][name] = v
		}
	}
	return all
}

// playedSettings returns the other settings that affect a dialogue, for a transcript.
func playedSettings(r *Route) map[string]string {
	settings := map[string]string{}
	if r.ClientTLS.Mode != rewrite.ClientTLSPass {
		settings["client_tls"] = r.ClientTLS.Mode.String()
	}
	if r.ServerTLS.Mode != rewrite.ServerTLSOff {
		settings["server_tls"] = r.ServerTLS.Mode.String()
	}
	if r.ServerTLS.ClearLogin != rewrite.ClearLoginDefault {
		settings["auth_in_clear"] = r.ServerTLS.ClearLogin.String()
	}
	if r.ServerTLS.Verified {
		settings["verified"] = "yes"
	}
	if r.XCLIENTSend != rewrite.XCLIENTNever {
		settings["xclient"] = r.XCLIENTSend.String()
	}
	if slices.Contains(r.Rules.Names(), "chunking") && !looksForProducts(r) { // otherwise it may be for a product only
		settings["chunking"] = "hide"
	}
	if r.Limits.MessageSize > 0 {
		settings["message_size"] = fmt.Sprint(r.Limits.MessageSize)
	}
	return settings
}

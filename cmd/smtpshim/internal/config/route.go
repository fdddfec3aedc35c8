package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy"
	"smtpshim/proxy/record"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// A Route is a [[route]] table: a [proxy.Route], and settings that a proxy.Route does
// not have.
type Route struct {
	*proxy.Route
	Client *ClientLeg // nil: smtpshim does not terminate TLS of clients
	Server *ServerLeg // nil: smtpshim does not begin TLS with servers
	idle   []option   // options of rules that are not in force

	options map[string]map[string]any // options of rules, as in the configuration
	// Unruled is true if the table has no key rules. The set standard is then used.
	Unruled bool

	// Device is true if the defaults of the timeouts are those for clients that give up
	// early, such as scanners.
	Device       bool
	Record       *record.Route // nil: nothing is recorded
	LoginEntries []Login
}

// An option is an option of a rule.
type option struct{ rule, name string }

// A ClientLeg has the settings of TLS between clients and smtpshim.
type ClientLeg struct {
	tlspolicy.ClientLeg
	Acceptor   *tlspolicy.Acceptor
	SelfSigned string // the directory of self-signed certificates; "": there are none
}

// A ServerLeg has the settings of TLS between smtpshim and servers.
type ServerLeg struct {
	tlspolicy.ServerLeg
	Dialer *tlspolicy.Dialer
}

// readRoute reads one [[route]]. It adds the listen addresses to taken. Self-signed
// certificates are below the directory state.
func readRoute(t *table, taken listeners, state *stateDir, made MakeCertificates, accounts []*Account) *Route {
	r := &Route{Route: &proxy.Route{
		Name:    t.text("name", ""),
		Listen:  addresses(t, "listen", "127.0.0.1:2525"),
		Servers: addresses(t, "servers", "127.0.0.1:25"),
	}}
	readRules(t, r)
	for _, address := range r.Listen {
		if path, ok := SocketPath(address); ok {
			t.reach(filepath.Dir(path), listening)
		}
		taken.add(t, "listen", address, forClients, owner{fmt.Sprintf("route %q", r.Name), t})
	}
	for i, address := range r.Servers {
		if address == proxy.OriginalDestination {
			continue // readNetwork checks it
		}
		if err := checkAddress(address, forServers); err != nil {
			t.wrong("servers", "%v", err)
		} else if slices.Contains(r.Servers[:i], address) {
			t.wrong("servers", "%q is in it twice; once is enough", address)
		} else if goesToItself(address, r.Listen) {
			t.wrong("servers", "%q is where this route listens: sessions would loop", address)
		}
	}
	readServers(t, r.Route)
	t.word("early_commands", &r.EarlyCommands)
	readNetwork(t, r)
	own := ownCertificates{state: state, make: made}
	if routeName.MatchString(r.Name) {
		own.route = r.Name
	}
	r.ClientTLS, r.Client = readClientTLS(t.table("client_tls"), own)
	r.ServerTLS, r.Server = readServerTLS(t.table("server_tls"))
	checkServerNames(t, r)

	header := t.table("proxy_protocol")
	r.ProxyFrom = networks(header, "accept_from")
	header.word("send", &r.ProxySend)
	header.done()
	readXCLIENT(t.table("xclient"), r.Route)

	limits := t.table("limits")
	for _, l := range limitsOf(&r.Limits) {
		*l.value = limits.number(l.key, l.normal, l.least, l.most)
	}
	r.Limits.MessageSize = limits.octets("message_size", 0, 0, 1<<40)
	limits.done()
	r.Device = t.boolean("device", false)
	timeouts := t.table("timeouts")
	for _, w := range timeoutsOf(&r.Timeouts, r.Device) {
		*w.value = timeouts.duration(w.key, w.normal, time.Second, 24*time.Hour)
	}
	timeouts.done()
	readLogins(t, r, accounts)
	r.Record = readRecord(t, r)
	return r
}

// networks reads an array of networks.
func networks(t *table, key string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range t.oneByOne(key) {
		network, err := rewrite.ParseNetwork(text)
		if err != nil {
			t.wrong(key, "%v", err)
		}
		list = append(list, network)
	}
	return list
}

// oneByOne reads an array of strings without commas. A comma would mean several elements.
func (t *table) oneByOne(key string) (list []string) {
	for _, text := range t.texts(key) {
		if _, isPath := SocketPath(text); isPath || !strings.Contains(text, ",") {
			list = append(list, text)
			continue
		}
		var each []string
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				each = append(each, strconv.Quote(part))
			}
		}
		t.wrong(key, "%q has a comma between its quotes; write [%s]", text, strings.Join(each, ", "))
	}
	return list
}

// addresses reads an array of strings that must not be missing or empty.
func addresses(t *table, key, example string) []string {
	list := t.oneByOne(key)
	if raw, ok := t.values[key].([]any); !t.has(key) {
		t.follows(nil, key, "is missing; write for example %s = [%q]", key, example)
	} else if ok && len(raw) == 0 {
		t.wrong(key, "is empty; write for example %s = [%q]", key, example)
	}
	return list
}

// A limit is a key of [route.limits].
type limit struct {
	key                 string
	value               *int
	normal, least, most int
}

// limitsOf returns the limits. A command line must not be limited to less than RFC 5321,
// 4.5.3.1.4 and 4.5.3.1.5 promise the peers.
func limitsOf(l *proxy.Limits) []limit {
	normal := proxy.DefaultLimits()
	return []limit{
		{"sessions", &l.Sessions, normal.Sessions, 1, 1_000_000},
		{"sessions_per_address", &l.SessionsPerAddress, 0, 0, 1_000_000},
		{"sessions_per_minute", &l.SessionsPerMinute, 0, 0, 1_000_000},
		{"command_line", &l.CommandLine, normal.CommandLine, 512, 65536},
		{"sasl_line", &l.SASLLine, normal.SASLLine, 12288, 65536},
		{"reply_line", &l.ReplyLine, normal.ReplyLine, 512, 65536},
		{"reply_lines", &l.ReplyLines, normal.ReplyLines, 16, 65536},
		{"errors", &l.Errors, normal.Errors, 1, 1_000_000},
		{"idle_commands", &l.Idle, normal.Idle, 10, 1_000_000},
		{"recipients", &l.Recipients, normal.Recipients, 100, 1_000_000},
		{"messages", &l.Messages, normal.Messages, 1, 1_000_000},
		{"message_rate", &l.MessageRate, 0, 0, 1_000_000},
	}
}

// A timeout is a key of [route.timeouts].
type timeout struct {
	key    string
	value  *time.Duration
	normal time.Duration
}

// forDevices are the timeouts that are shorter for clients that give up after about 20
// seconds and try once, such as scanners, so that the next server is tried in time. The
// timeouts after a message are not shortened: giving up earlier there causes duplicates.
var forDevices = map[string]time.Duration{"connect": 5 * time.Second, "greeting": 10 * time.Second, "tls": 10 * time.Second}

// timeoutsOf returns the timeouts, with the defaults of a route for devices or of any
// other route.
func timeoutsOf(t *proxy.Timeouts, device bool) []timeout {
	normal := proxy.DefaultTimeouts()
	list := []timeout{
		{"connect", &t.Connect, normal.Connect},
		{"greeting", &t.Greeting, normal.Greeting},
		{"tls", &t.TLS, normal.TLS},
		{"header", &t.Header, normal.Header},
		{"command", &t.Command, normal.Command},
		{"reply", &t.Reply, normal.Reply},
		{"data", &t.Data, normal.Data},
		{"data_end", &t.DataEnd, normal.DataEnd},
		{"session", &t.Session, normal.Session},
	}
	for i, w := range list {
		if shorter, ok := forDevices[w.key]; ok && device {
			list[i].normal = shorter
		}
	}
	return list
}

// ChangedLimits returns, as text, the limits in all that differ from the defaults, such
// as "sessions 100, message_size 10485760". The result is "" if no limit differs. all
// must be the limits of a route that [Read] has returned.
func ChangedLimits(all proxy.Limits) string {
	var changed []string
	for _, l := range limitsOf(&all) {
		if *l.value != l.normal {
			changed = append(changed, fmt.Sprintf("%s %d", l.key, *l.value))
		}
	}
	if all.MessageSize != proxy.DefaultLimits().MessageSize {
		changed = append(changed, fmt.Sprintf("message_size %d", all.MessageSize))
	}
	return strings.Join(changed, ", ")
}

// ChangedTimeouts returns, as text, the timeouts in t that differ from the defaults,
// such as "connect 5s, reply 1m". The shorter defaults of a route for devices
// (Route.Device) count as different. The result is "" if no timeout differs. t must be
// the timeouts of a route that [Read] has returned.
func ChangedTimeouts(t proxy.Timeouts) string {
	var changed []string
	for _, t := range timeoutsOf(&t, false) {
		if *t.value != t.normal {
			changed = append(changed, fmt.Sprintf("%s %s", t.key, words.Brief(*t.value)))
		}
	}
	return strings.Join(changed, ", ")
}

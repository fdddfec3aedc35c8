// Package metrics counts what the proxy does, for Prometheus, and serves the
// admin listener.
//
// A Route satisfies proxy.Observer without knowing the proxy. Label values
// come from closed sets: names of routes and rules as the configuration has
// them, and the lists in this package; whatever is in none of them is counted
// as "other". Nothing that a peer said becomes a label.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// buckets, in seconds, reach from a server on the same machine to the longest
// wait of RFC 5321, 4.5.3.2.
var buckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600}

// Metrics are the collectors of one program. They are safe for concurrent use.
type Metrics struct {
	sessions       *prometheus.CounterVec
	active         *prometheus.GaugeVec
	sessionSeconds *prometheus.HistogramVec
	refused        *prometheus.CounterVec

	commands     *prometheus.CounterVec
	replies      *prometheus.CounterVec
	ruleApplied  *prometheus.CounterVec
	ruleBroken   *prometheus.CounterVec
	messages     *prometheus.CounterVec
	messageBytes *prometheus.CounterVec
	bytes        *prometheus.CounterVec

	serverConnect *prometheus.HistogramVec
	serverReply   *prometheus.HistogramVec
	serverErrors  *prometheus.CounterVec
	tlsSessions   *prometheus.CounterVec
	tlsFailures   *prometheus.CounterVec

	reloads            *prometheus.CounterVec
	certificateReloads *prometheus.CounterVec
}

// New registers all collectors with reg, those of the Go runtime and of the
// process included. It panics if reg has any of them already.
func New(reg prometheus.Registerer, version string) *Metrics {
	m := &Metrics{
		sessions:       counters("sessions_total", "Sessions that ended, by how they ended.", "outcome"),
		active:         prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("sessions_active", "Sessions under way.")), []string{"route"}),
		sessionSeconds: histograms("session_seconds", "How long sessions lasted."),
		refused:        counters("refused_total", "Connections that got no session, by why.", "reason"),

		commands:     counters("commands_total", "Commands that clients said, by verb.", "verb"),
		replies:      counters("replies_total", "Replies that clients got, by class.", "class"),
		ruleApplied:  counters("rule_applied_total", "Lines that a rule changed, by rule.", "rule"),
		ruleBroken:   counters("rule_broken_total", "Lines that a rule made and that were no lines, by rule; each is a defect.", "rule"),
		messages:     counters("messages_total", "Messages, by what became of them.", "outcome"),
		messageBytes: counters("message_bytes_total", "Octets of messages, whatever became of them."),
		bytes:        counters("bytes_total", "Octets read, by the side they came from.", "direction"),

		serverConnect: histograms("server_connect_seconds", "From dialling a server to its greeting."),
		serverReply:   histograms("server_reply_seconds", "From a command to the server's reply, by verb.", "verb"),
		serverErrors:  counters("server_errors_total", "Servers that failed us, by how.", "reason"),
		tlsSessions:   counters("tls_sessions_total", "TLS handshakes that ended well, by side, version and suite.", "side", "version", "suite"),
		tlsFailures:   counters("tls_failures_total", "TLS handshakes that failed, by side and why.", "side", "reason"),

		reloads: prometheus.NewCounterVec(prometheus.CounterOpts(opts("config_reloads_total",
			"Times the configuration was read again, by outcome.")), []string{"outcome"}),
		certificateReloads: counters("certificate_reloads_total", "Times files of certificates had changed, by whether they are in use now.", "outcome"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("build_info",
		"Always 1; the labels say what is running.")), []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("error")

	reg.MustRegister(
		m.sessions, m.active, m.sessionSeconds, m.refused,
		m.commands, m.replies, m.ruleApplied, m.ruleBroken, m.messages, m.messageBytes, m.bytes,
		m.serverConnect, m.serverReply, m.serverErrors, m.tlsSessions, m.tlsFailures,
		m.reloads, m.certificateReloads, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Reloaded counts one more reading of the configuration; err is what came of it.
func (m *Metrics) Reloaded(err error) { m.reloads.WithLabelValues(outcome(err)).Inc() }

func outcome(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "smtpshim", Name: name, Help: help}
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{"route"}, labels...))
}

func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "smtpshim", Name: name, Help: help, Buckets: buckets,
	}, append([]string{"route"}, labels...))
}

// Package metrics counts what the proxy does, for Prometheus, and serves the admin
// listener.
//
// A Route implements proxy.Observer without importing the proxy. Label values come from
// closed sets: the names in the configuration, such as those of routes and rules, and
// the lists in this package and in package vocabulary. Any other value is counted as
// "other" or ignored. No label contains text from a peer.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// buckets, in seconds, range from a server on the same machine to the longest timeout of
// RFC 5321, 4.5.3.2.
var buckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600}

// quickBuckets, in seconds, are for work that waits for nobody.
var quickBuckets = []float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, .001, .005, .01, .05, .1, .5}

// A Metrics counts what happens on all routes, and reloads of the configuration. What
// happens on one route is reported to the result of [Metrics.Route]. A Metrics is safe
// for concurrent use.
type Metrics struct {
	sessions       *prometheus.CounterVec
	active         *prometheus.GaugeVec
	sessionSeconds *prometheus.HistogramVec
	defects        *prometheus.CounterVec
	refused        *prometheus.CounterVec
	limitsMet      *prometheus.CounterVec
	recognised     *prometheus.CounterVec
	held           *prometheus.HistogramVec

	commands     *prometheus.CounterVec
	replies      *prometheus.CounterVec
	ruleApplied  *prometheus.CounterVec
	ruleWould    *prometheus.CounterVec
	ruleBroken   *prometheus.CounterVec
	auth         *prometheus.CounterVec
	messages     *prometheus.CounterVec
	messageBytes *prometheus.CounterVec
	bytes        *prometheus.CounterVec

	serverConnect *prometheus.HistogramVec
	serverAgain   *prometheus.CounterVec
	serverReply   *prometheus.HistogramVec
	serverErrors  *prometheus.CounterVec
	badReplies    *prometheus.CounterVec
	tlsSessions   *prometheus.CounterVec
	tlsFailures   *prometheus.CounterVec

	reloads            *prometheus.CounterVec
	reloaded           prometheus.Gauge
	reloadedAt         prometheus.Gauge
	certificateReloads *prometheus.CounterVec
}

// New returns a Metrics whose collectors are registered with reg, including those of the
// Go runtime and of the process. version is the version of the program that they report.
// New panics if reg already has one of the collectors.
func New(reg prometheus.Registerer, version string) *Metrics {
	m := &Metrics{
		sessions:       counters("sessions_total", "Sessions that ended, by how they ended.", "outcome"),
		active:         prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("sessions_active", "Sessions under way.")), []string{"route"}),
		sessionSeconds: histograms("session_seconds", "How long sessions lasted.", buckets),
		defects:        counters("defects_total", "Panics of smtpshim, each of which cost a session, or a check of a server."),
		refused:        counters("refused_total", "Connections that got no session, by reason.", "reason"),
		limitsMet:      counters("limits_met_total", "Limits that clients met in a session, by limit.", "limit"),
		recognised:     counters("products_total", "Products that sessions had at one of their ends, by name of their set and by sign: greeting, ehlo, help, remembered or command.", "product", "sign"),
		held:           histograms("held_seconds", "How long smtpshim itself took between two waits, sampled once in 17 times: what it adds, without the kernel's part.", quickBuckets),

		commands:     counters("commands_total", "Commands that clients sent, by verb.", "verb"),
		replies:      counters("replies_total", "Replies that clients got, by class.", "class"),
		ruleApplied:  counters("rule_applied_total", "Lines that a rule changed, by rule.", "rule"),
		ruleWould:    counters("rule_would_apply_total", "Lines that a rule would have changed on a route with mode observe, by rule.", "rule"),
		ruleBroken:   counters("rule_broken_total", "Changes by a rule that were not valid and were discarded, by rule; each is a defect.", "rule"),
		auth:         counters("auth_total", "AUTH exchanges, by side, mechanism and how they ended: client is what the client used and received, server what the server received and sent.", "side", "mechanism", "outcome"),
		messages:     counters("messages_total", "Messages, by outcome.", "outcome"),
		messageBytes: counters("message_bytes_total", "Octets of messages, with any outcome."),
		bytes:        counters("bytes_total", "Octets read, by the side they came from.", "direction"),

		serverConnect: histograms("server_connect_seconds", "Time from dialling a server to its greeting.", buckets),
		serverAgain:   counters("server_again_total", "Further connections to a server, as rules make them for sessions that had one before."),
		serverReply:   histograms("server_reply_seconds", "Time from a command to the server's reply, by verb.", buckets, "verb"),
		serverErrors:  counters("server_errors_total", "Failures of servers, by kind.", "reason"),
		badReplies:    counters("bad_replies_total", "What servers sent that was no reply, or no reply to a command, by reason.", "reason"),
		tlsSessions:   counters("tls_sessions_total", "TLS handshakes that succeeded, by side, version and suite.", "side", "version", "suite"),
		tlsFailures:   counters("tls_failures_total", "TLS handshakes that failed, by side and reason.", "side", "reason"),

		reloads: prometheus.NewCounterVec(prometheus.CounterOpts(opts("config_reloads_total",
			"Times the configuration was read again, by outcome.")), []string{"outcome"}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts(opts("config_last_reload_successful",
			"1 if the configuration in force is that of the file as it was read last, else 0."))),
		reloadedAt: prometheus.NewGauge(prometheus.GaugeOpts(opts("config_last_reload_success_timestamp_seconds",
			"When the configuration in force was read, in seconds since 1970."))),
		certificateReloads: counters("certificate_reloads_total", "Changes of certificate files, by whether they are in use now.", "outcome"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("build_info",
		"Always 1; the labels say what is running.")), []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("error")
	m.inForce()

	reg.MustRegister(
		m.sessions, m.active, m.sessionSeconds, m.defects, m.refused, m.limitsMet, m.recognised, m.held,
		m.commands, m.replies, m.ruleApplied, m.ruleWould, m.ruleBroken, m.auth, m.messages, m.messageBytes, m.bytes,
		m.serverConnect, m.serverAgain, m.serverReply, m.serverErrors, m.badReplies, m.tlsSessions, m.tlsFailures,
		m.reloads, m.reloaded, m.reloadedAt, m.certificateReloads, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Reloaded counts an attempt to reload the configuration. err is nil if it succeeded.
func (m *Metrics) Reloaded(err error) {
	m.reloads.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		m.reloaded.Set(0)
		return
	}
	m.inForce()
}

// inForce records that the configuration file is in force.
func (m *Metrics) inForce() {
	m.reloaded.Set(1)
	m.reloadedAt.SetToCurrentTime()
}

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

// histograms returns histograms with buckets for scrapes in text, and native ones for
// scrapes in protobuf. Each native bucket is at most a tenth wider than the one before,
// and there are at most 100.
func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "smtpshim", Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, append([]string{"route"}, labels...))
}

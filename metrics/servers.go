package metrics

import "github.com/prometheus/client_golang/prometheus"

// A Server has what Servers reports about one server of one route.
type Server struct {
	Route, Name string // names of the route and of the server, as in the configuration
	Sessions    int    // sessions that it has at present
	Up          bool   // it greeted at the last attempt and passes its health checks
}

// Servers returns a collector that reports, for each server, whether it is up and how
// many sessions it has. list returns the servers of all routes. Each scrape calls list,
// which must be safe for concurrent use.
func Servers(list func() []Server) prometheus.Collector {
	labels := []string{"route", "server"}
	return servers{list,
		prometheus.NewDesc("smtpshim_server_up", "1 if the server greeted when it was tried last and its checks go well, else 0.", labels, nil),
		prometheus.NewDesc("smtpshim_server_sessions", "Sessions that the server has now.", labels, nil)}
}

type servers struct {
	list         func() []Server
	up, sessions *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s servers) Describe(to chan<- *prometheus.Desc) {
	to <- s.up
	to <- s.sessions
}

// Collect implements prometheus.Collector.
func (s servers) Collect(to chan<- prometheus.Metric) {
	for _, server := range s.list() {
		up := 0.
		if server.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, up, server.Route, server.Name)
		to <- prometheus.MustNewConstMetric(s.sessions, prometheus.GaugeValue, float64(server.Sessions), server.Route, server.Name)
	}
}

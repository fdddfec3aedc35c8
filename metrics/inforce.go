package metrics

import "github.com/prometheus/client_golang/prometheus"

// A Standing has what InForce reports about one route of the current configuration.
type Standing struct {
	Route    string
	Rules    []string // names of the rules in force
	Sessions int      // the largest number of sessions at a time
}

// InForce returns a collector that reports the rules in force and the largest number of
// sessions of each route. Comparing these with the counts shows rules that never act,
// and limits that are nearly reached. list returns a Standing for each route. Each
// scrape calls list, which must be safe for concurrent use.
func InForce(list func() []Standing) prometheus.Collector {
	return inForce{list,
		prometheus.NewDesc("smtpshim_rules_in_force", "Always 1, for each rule in force.", []string{"route", "rule"}, nil),
		prometheus.NewDesc("smtpshim_sessions_limit", "Sessions that may be under way at once.", []string{"route"}, nil)}
}

type inForce struct {
	list            func() []Standing
	rules, sessions *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (f inForce) Describe(to chan<- *prometheus.Desc) {
	to <- f.rules
	to <- f.sessions
}

// Collect implements prometheus.Collector.
func (f inForce) Collect(to chan<- prometheus.Metric) {
	for _, s := range f.list() {
		to <- prometheus.MustNewConstMetric(f.sessions, prometheus.GaugeValue, float64(s.Sessions), s.Route)
		for _, rule := range s.Rules {
			to <- prometheus.MustNewConstMetric(f.rules, prometheus.GaugeValue, 1, s.Route, rule)
		}
	}
}

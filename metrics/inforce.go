package metrics

import "github.com/prometheus/client_golang/prometheus"

// A Standing is what the configuration in force says of one route.
type Standing struct {
	Route    string
	Rules    []string
	Sessions int // that it may have at once
}

// InForce tells what the configuration says, so that what happens can be held
// against it: a rule that has not acted for long, a limit that is near. list is
// called at every scrape, from several goroutines.
func InForce(list func() []Standing) prometheus.Collector {
	return inForce{list,
		prometheus.NewDesc("smtpshim_rules_in_force", "Always 1, for each rule in force.", []string{"route", "rule"}, nil),
		prometheus.NewDesc("smtpshim_sessions_limit", "Sessions that may be under way at once.", []string{"route"}, nil)}
}

type inForce struct {
	list            func() []Standing
	rules, sessions *prometheus.Desc
}

// Describe is prometheus.Collector's.
func (f inForce) Describe(to chan<- *prometheus.Desc) {
	to <- f.rules
	to <- f.sessions
}

// Collect is prometheus.Collector's.
func (f inForce) Collect(to chan<- prometheus.Metric) {
	for _, s := range f.list() {
		to <- prometheus.MustNewConstMetric(f.sessions, prometheus.GaugeValue, float64(s.Sessions), s.Route)
		for _, rule := range s.Rules {
			to <- prometheus.MustNewConstMetric(f.rules, prometheus.GaugeValue, 1, s.Route, rule)
		}
	}
}

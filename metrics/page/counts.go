package page

import "github.com/prometheus/client_golang/prometheus"

// A series is a metric of one route with one value of a further label. by is "" for the
// sum over all values.
type series struct{ name, route, by string }

// counts are the present values of the metrics that the page shows.
type counts map[series]int64

// count gathers the metrics. It skips those that cannot be gathered.
func count(gatherer prometheus.Gatherer) counts {
	c := counts{}
	wanted := map[string]string{ // the further label
		"smtpshim_sessions_active":    "",
		"smtpshim_sessions_total":     "outcome",
		"smtpshim_messages_total":     "outcome",
		"smtpshim_rule_applied_total": "rule",
	}
	families, _ := gatherer.Gather() // with an error, it still returns the other metrics
	for _, f := range families {
		label, ok := wanted[f.GetName()]
		if !ok {
			continue
		}
		for _, m := range f.GetMetric() {
			var route, by string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "route":
					route = l.GetValue()
				case label:
					by = l.GetValue()
				}
			}
			n := int64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			c[series{f.GetName(), route, ""}] += n
			if by != "" {
				c[series{f.GetName(), route, by}] += n
			}
		}
	}
	return c
}

package page

import "github.com/prometheus/client_golang/prometheus"

// A series is a metric of one route, by one more label; by is "" for the sum
// over it.
type series struct{ name, route, by string }

// counts are the numbers that the page shows, as they are now.
type counts map[series]int64

// count reads the metrics. What cannot be read counts as nothing.
func count(gatherer prometheus.Gatherer) counts {
	c := counts{}
	wanted := map[string]string{ // by which label
		"smtpshim_sessions_active":    "",
		"smtpshim_sessions_total":     "outcome",
		"smtpshim_messages_total":     "outcome",
		"smtpshim_rule_applied_total": "rule",
	}
	families, _ := gatherer.Gather() // has what was right beside an error
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

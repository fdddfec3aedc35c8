//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// mean is that of two figures, value by value.
func mean(a, b figure) figure {
	return figure{Rate: (a.Rate + b.Rate) / 2, CPU: (a.CPU + b.CPU) / 2, P50: (a.P50 + b.P50) / 2, P99: (a.P99 + b.P99) / 2}
}

// median is the middle one of values, or the mean of the two; 0 of none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio is 0 where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// A result is what all runs of a proxy have come to in one workload: medians.
type result struct {
	runs     int
	failed   int
	cpu      float64 // for an operation, over the sink's without a proxy
	rate     float64 // over that without a proxy
	p50, p99 float64 // microseconds more than without a proxy
	held     float64 // KiB
}

// summarize gives a proxy's result; runs that failed count as such and no more.
func summarize(samples []sample, workload, proxy string) result {
	var r result
	var cpu, rate, p50, p99, held []float64
	for _, s := range samples {
		switch {
		case s.Workload != workload || s.Proxy != proxy:
			continue
		case s.Err != "":
			r.failed++
		default:
			cpu = append(cpu, ratio(s.CPU, s.Direct.CPU))
			rate = append(rate, ratio(s.Rate, s.Direct.Rate))
			p50 = append(p50, s.P50-s.Direct.P50)
			p99 = append(p99, s.P99-s.Direct.P99)
			held = append(held, s.Held)
		}
		r.runs++
	}
	r.cpu, r.rate, r.p50, r.p99, r.held = median(cpu), median(rate), median(p50), median(p99), median(held)
	return r
}

// cell is a result as the table shows it, in relation to a reference unless that
// has no runs.
func (r result) cell(k kind, reference result) string {
	switch {
	case r.failed > 0:
		return fmt.Sprintf("%d of %d failed", r.failed, r.runs)
	case r.runs == 0:
		return ""
	}
	to := func(format string, value, reference float64) string {
		text := fmt.Sprintf(format, value)
		if reference > 0 {
			text += fmt.Sprintf(" (%.2f)", value/reference)
		}
		return text
	}
	switch k {
	case holding:
		return to("%.1f KiB", r.held, reference.held)
	case waiting:
		return to("p50 %+.0f µs", r.p50, reference.p50) + ", " + to("p99 %+.0f µs", r.p99, reference.p99) +
			", " + to("CPU %.2f", r.cpu, reference.cpu)
	default:
		return to("CPU %.2f", r.cpu, reference.cpu) + ", " + to("rate %.2f", r.rate, reference.rate)
	}
}

const legend = `CPU is the proxy's time of processors for an operation over the sink's own without a proxy, rate that over the
rate without a proxy; p50 and p99 are what a round trip grows by, KiB what a session takes of memory. In brackets,
each over HAProxy's; for mend50, over the same proxy's text50. All are medians of the rounds.
`

// writeTable writes a row for every workload and a column for every proxy.
func writeTable(out io.Writer, ws []*workload, proxies []proxy, samples []sample) {
	row := func(cells ...string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{"workload"}, []string{"---"}
	for _, p := range proxies {
		head, rule = append(head, p.name), append(rule, "---")
	}
	row(head...)
	row(rule...)
	for _, w := range ws {
		cells := []string{fmt.Sprintf("`%s`: %s", w.name, w.about)}
		for _, p := range proxies {
			var reference result
			switch {
			case w.direct != "":
				reference = summarize(samples, w.direct, p.name)
			case p.name != haproxy:
				reference = summarize(samples, w.name, haproxy)
			}
			if reference.failed > 0 {
				reference = result{}
			}
			cells = append(cells, summarize(samples, w.name, p.name).cell(w.kind, reference))
		}
		row(cells...)
	}
	fmt.Fprintf(out, "\n%s", legend)
}

// quartiles are the lower quartile, the median and the upper quartile of values, of which
// there is at least one.
func quartiles(values []float64) (low, middle, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return median(sorted[:(n+1)/2]), median(sorted), median(sorted[n/2:])
}

// changes are the ratios of smtpshim to the build before, round by round. A round in which
// a run failed has none.
func changes(samples []sample, workload string, value func(sample) float64) (ratios []float64) {
	then := map[int]float64{}
	for _, s := range samples {
		if s.Workload == workload && s.Proxy == before && s.Err == "" {
			then[s.Round] = value(s)
		}
	}
	for _, s := range samples {
		if s.Workload == workload && s.Proxy == smtpshim && s.Err == "" && then[s.Round] > 0 {
			ratios = append(ratios, value(s)/then[s.Round])
		}
	}
	return ratios
}

// writeChanges writes how smtpshim compares with the build before in each workload.
func writeChanges(out io.Writer, ws []*workload, samples []sample) {
	values := map[kind][]string{rates: {"CPU", "rate"}, waiting: {"CPU", "p50"}, holding: {"KiB"}}
	of := map[string]func(sample) float64{
		"CPU":  func(s sample) float64 { return s.CPU },
		"rate": func(s sample) float64 { return s.Rate },
		"p50":  func(s sample) float64 { return s.P50 },
		"KiB":  func(s sample) float64 { return s.Held },
	}
	for _, w := range ws {
		for _, name := range values[w.kind] {
			if ratios := changes(samples, w.name, of[name]); len(ratios) > 0 {
				low, middle, high := quartiles(ratios)
				fmt.Fprintf(out, "%s over the build before in `%s`: %.3f (quartiles %.3f and %.3f, %d rounds)\n", name, w.name, middle, low, high, len(ratios))
			}
		}
	}
}

package metrics

import "github.com/prometheus/client_golang/prometheus"

// LogLinesDropped returns a collector of the number of lines dropped from the log. Each
// scrape calls dropped, which returns the number so far and must be safe for concurrent
// use.
func LogLinesDropped(dropped func() uint64) prometheus.Collector {
	return counted("log_lines_dropped_total", "Lines of the log that were dropped, because nobody read them in time.", dropped)
}

// LoopTurnsHeld returns a collector of the number of iterations of the proxy's event
// loops that took more than 100 ms. Each scrape calls held, which returns the number so
// far and must be safe for concurrent use.
func LoopTurnsHeld(held func() uint64) prometheus.Collector {
	return counted("loop_turns_held_total", "Turns of the loops that sessions run in which took more than 100 ms, so that other sessions waited.", held)
}

func counted(name, help string, count func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts(opts(name, help)), func() float64 { return float64(count()) })
}

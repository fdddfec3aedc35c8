package main

import (
	"errors"
	"fmt"

	"smtpshim/metrics"
)

// readiness returns why new sessions should go elsewhere; nil: they are welcome. Only
// health checks count. Without them, nobody would notice that a server is back once no
// session comes any more.
func (p *instance) readiness() error {
	if !p.ready.Load() {
		return errors.New("it is starting or stopping")
	}
	var routes []string // in order
	healthy := map[string]bool{}
	for _, s := range p.proxy.Servers() {
		if _, known := healthy[s.Route]; !known {
			routes = append(routes, s.Route)
		}
		healthy[s.Route] = healthy[s.Route] || s.Healthy
	}
	var errs []error
	for _, route := range routes {
		if !healthy[route] {
			errs = append(errs, fmt.Errorf("route %s: every server fails its checks", route))
		}
	}
	return errors.Join(errs...)
}

// readyz returns the result for /readyz: readiness, and whether the configuration is
// stale.
func (p *instance) readyz() (note string, err error) { return p.publicStaleness(), p.readiness() }

// inForce returns what the configuration says about each route, for the metrics.
func (p *instance) inForce() []metrics.Standing {
	var list []metrics.Standing
	for _, r := range p.config.Load().Routes {
		list = append(list, metrics.Standing{Route: r.Name, Rules: r.Rules.Names(), Sessions: r.Limits.Sessions})
	}
	return list
}

// servers returns the servers of all routes, for the metrics.
func (p *instance) servers() []metrics.Server {
	var list []metrics.Server
	for _, s := range p.proxy.Servers() {
		list = append(list, metrics.Server{Route: s.Route, Name: s.Server, Sessions: s.Sessions, Up: s.Up})
	}
	return list
}

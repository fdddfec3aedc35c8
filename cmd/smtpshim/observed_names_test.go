package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
)

// TestEveryNameThatAnObserverHearsHasItsCounter takes the names from what
// proxy.Observer promises of its arguments.
func TestEveryNameThatAnObserverHearsHasItsCounter(t *testing.T) {
	registry := prometheus.NewRegistry()
	route := metrics.New(registry, "v1").Route("in", nil, metrics.TLS{})
	hears := map[string]func(string){
		"SessionEnded": func(name string) { route.SessionEnded(name, time.Second) },
		"Message":      func(name string) { route.Message(name, 1) },
		"Refused":      route.Refused,
		"LimitMet":     route.LimitMet,
		"ServerFailed": route.ServerFailed,
		"BadReply":     route.BadReply,
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../proxy/observer.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	observer := file.Scope.Lookup("Observer").Decl.(*ast.TypeSpec).Type.(*ast.InterfaceType)
	told := 0
	for _, method := range observer.Methods.List {
		tell := hears[method.Names[0].Name]
		if tell == nil {
			continue
		}
		for _, name := range regexp.MustCompile(`"([a-z-]+)"`).FindAllStringSubmatch(method.Doc.Text(), -1) {
			tell(name[1])
			told++
		}
	}
	if told < 40 {
		t.Errorf("only %d names were found", told)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "other" && m.GetCounter().GetValue() > 0 {
					t.Errorf("%s has %v without a name", f.GetName(), m.GetCounter().GetValue())
				}
			}
		}
	}
}

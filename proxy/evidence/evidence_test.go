package evidence_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/evidence"
	"smtpshim/rewrite/vocabulary"
)

func from(client string) proxy.Beginning {
	return proxy.Beginning{Route: "in", Client: netip.MustParseAddr(client)}
}

func TestEachClientOfARuleCountsOnce(t *testing.T) {
	var b evidence.Book
	b.Observe("in")
	would := proxy.Would{"join-data-reply": {Times: 2, Line: "354-go"}}
	b.Ended(from("192.0.2.7"), proxy.Ending{Outcome: vocabulary.OutcomeServerProtocol, Server: "mail.example.com:25", Would: would})
	b.Ended(from("192.0.2.7"), proxy.Ending{Outcome: vocabulary.OutcomeOK, Server: "mail.example.com:25", Would: would})
	b.Ended(from("192.0.2.8"), proxy.Ending{Outcome: vocabulary.OutcomeOK})
	b.Ended(proxy.Beginning{Route: "other"}, proxy.Ending{Would: would})
	got := b.Routes()
	if len(got) != 1 || got[0].Since.IsZero() {
		t.Fatalf("got %+v", got)
	}
	got[0].Since = evidence.Route{}.Since
	want := evidence.Route{Name: "in", Sessions: 3, Failed: 1, Clients: 2, Rules: []evidence.Rule{{
		Name: "join-data-reply", Times: 4, Sessions: 2, Failed: 1, Clients: 1,
		Named: []string{"192.0.2.7"}, Servers: []string{"mail.example.com:25"}, Line: "354-go"}}}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
}

func TestTheRuleThatMostClientsNeedComesFirst(t *testing.T) {
	var b evidence.Book
	b.Observe("in")
	b.Ended(from("192.0.2.1"), proxy.Ending{Would: proxy.Would{"a": {Times: 9}, "b": {Times: 1}}})
	b.Ended(from("192.0.2.2"), proxy.Ending{Would: proxy.Would{"b": {Times: 1}}})
	if rules := b.Routes()[0].Rules; rules[0].Name != "b" || rules[1].Name != "a" {
		t.Errorf("got %+v", rules)
	}
}

func TestEvidenceIsBoundedWhoeverConnects(t *testing.T) {
	var b evidence.Book
	b.Observe("in")
	would := proxy.Would{}
	for i := range 400 {
		would[fmt.Sprintf("rule-%d", i)] = proxy.Departures{Times: 1}
	}
	client := netip.MustParseAddr("2001:db8::1")
	for range 2000 {
		b.Ended(proxy.Beginning{Route: "in", Client: client}, proxy.Ending{Server: client.String(), Would: would})
		client = client.Next()
	}
	r := b.Routes()[0]
	if r.Sessions != 2000 || r.Clients != evidence.MostClients || len(r.Rules) != 256 {
		t.Fatalf("%d sessions, %d clients, %d rules", r.Sessions, r.Clients, len(r.Rules))
	}
	for _, rule := range r.Rules {
		if rule.Clients != evidence.MostClients || len(rule.Named) != evidence.MostNamed || len(rule.Servers) != evidence.MostNamed {
			t.Fatalf("%s: %d clients, %d named, %d servers", rule.Name, rule.Clients, len(rule.Named), len(rule.Servers))
		}
	}
}

func TestARouteThatObservesNoMoreIsForgotten(t *testing.T) {
	var b evidence.Book
	b.Observe("in", "out")
	b.Ended(from("192.0.2.1"), proxy.Ending{})
	b.Observe("in")
	if r := b.Routes(); len(r) != 1 || r[0].Name != "in" || r[0].Sessions != 1 {
		t.Errorf("after out has ended: %+v", r)
	}
	b.Observe()
	b.Observe("in")
	if r := b.Routes(); r[0].Sessions != 0 {
		t.Errorf("after in has begun anew: %+v", r)
	}
}

package proxy_test

import (
	"os"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A chaosKind is the rules of a route, and how mail may be sent under them.
type chaosKind struct {
	rules    func(t *testing.T) *rewrite.Rules
	offers   bool     // the sink offers CHUNKING
	mayChunk bool     // the client may send by BDAT
	greets   []string // by which the sink shows a product, one a session; nil: none
}

// chaosMix is what routes have; half of the sessions have nothing special.
var chaosMix = []chaosKind{
	{rules: func(*testing.T) *rewrite.Rules { return nil }, offers: true, mayChunk: true},
	{rules: func(t *testing.T) *rewrite.Rules { return compile(t, "standard") }, offers: true, mayChunk: true},
	{rules: func(t *testing.T) *rewrite.Rules { return compile(t, "chunking") }, offers: true, mayChunk: true},
	{rules: func(t *testing.T) *rewrite.Rules { return withMode(t, "stray-bytes", "refuse") }, offers: true, mayChunk: true},
	{rules: func(t *testing.T) *rewrite.Rules { return withMode(t, "long-lines", "fold") }, offers: true, mayChunk: true},
	{rules: func(t *testing.T) *rewrite.Rules { return compile(t, "standard", "bdat-to-data") }, mayChunk: true},
	{rules: everyRule, offers: true, mayChunk: true},
	{rules: auto, offers: true, mayChunk: true},
	{rules: auto, offers: true, mayChunk: true, greets: productGreetings}, // nine kinds: each meets each way of TLS
}

func auto(t *testing.T) *rewrite.Rules { return compile(t, "auto") }

// productGreetings show to auto most of the products that it looks for.
var productGreetings = []string{
	"sink.example.net ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready",
	"sink.example.net Microsoft Exchange Internet Mail Service 5.0.1460.8 ready",
	"sink.example.net Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11",
	"sink.example.net Microsoft ESMTP MAIL Service, Version: 5.0.2172.1 ready at Tue, 29 Feb 2000 18:55:48 -0600",
	"sink.example.net Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at Wed, 21 Jul 2010 19:04:24 -0700",
	"sink.example.net Microsoft ESMTP MAIL Service ready at Wed, 21 Jul 2010 19:04:24 -0700",
	"sink.example.net Sendmail 8.6.12/8.6.9 ready at Mon, 28 Aug 1995 09:32:00 -0400",
	"All set, fire away",
	"sink.example.net ESMTP Service (Lotus Domino Release 5.0.8) ready at Tue",
	"sink.example.net GroupWise Internet Agent 5.5.1 Ready",
	"sink.example.net ESMTP MDaemon ready",
	"sink.example.net Generic SMTP handler",
	"sink.example.net InterLock SMTP Gateway 3.0 ready",
	"CheckPoint FireWall-1 secure SMTP server",
	"DP-1820E",
	"****************************************2******0*****",
}

// everyRule is all rules there are, with the options that they need, but for those that
// change what a message has: the sink would get another one.
func everyRule(t *testing.T) *rewrite.Rules {
	t.Helper()
	var names []string
	for _, r := range heal.Table() {
		switch r.Name {
		case "header-fields", "label-8bit", "leading-dots":
		default:
			names = append(names, r.Name)
		}
	}
	rules, errs := heal.Compile(names, map[string]map[string]any{
		"hide-keywords":  {"keywords": []any{"DSN"}},
		"map-domains":    {"domains": map[string]any{"old.example.net": "example.net"}},
		"map-auth-names": {"names": map[string]any{"old": "user"}},
		"offer-auth":     {"mechanisms": []any{"LOGIN"}},
	})
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// chaosKinds are chaosMix, or what SMTPSHIM_CHAOS_RULES names.
func chaosKinds() []chaosKind {
	names := os.Getenv("SMTPSHIM_CHAOS_RULES")
	if names == "" {
		return chaosMix
	}
	var kinds []chaosKind
	for name := range strings.SplitSeq(names, ",") {
		kind := chaosKind{rules: everyRule, offers: true, mayChunk: true}
		if name == "auto" {
			kind.greets = productGreetings
		}
		if name != "all" {
			kind.rules = func(t *testing.T) *rewrite.Rules { return compile(t, name) }
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

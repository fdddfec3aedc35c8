package rewrite_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// productBook has a rule that adds a word to NOOP, and sets that choose the word for
// a product. The rule counts in its state how often it has acted.
func productBook() rewrite.Book {
	row := rewrite.Rule{Name: "mark", Options: []rewrite.Option{{Name: "word", Default: "usual"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			word := o.Text("word")
			return rewrite.Actions{
				State:    func() any { return new(int) },
				Commands: rewrite.SetOf(rewrite.VerbNOOP), Command: func(t *rewrite.Turn) {
					n := t.State().(*int)
					*n++
					t.SetLine("NOOP " + word + strings.Repeat("!", *n))
				},
			}, nil
		}}
	other := appends("other", "x", false, rewrite.VerbRSET)
	word := func(w string) map[string]map[string]any { return map[string]map[string]any{"mark": {"word": w}} }
	return rewrite.Book{Rules: []rewrite.Rule{row, other}, Sets: []rewrite.Set{
		{Name: "old", Rules: []string{"mark", "other"}, Options: word("old"),
			Signs: rewrite.Signs{Greeting: `Old Mail`, Offer: `(?m)^X-OLD$`, Help: `Old commands`}},
		{Name: "gateway", Rules: []string{"mark"}, Options: word("gateway"),
			Signs: rewrite.Signs{Greeting: `Gateway`, Says: rewrite.SetOf(rewrite.VerbXEXPS)}},
		{Name: "plain", Signs: rewrite.Signs{Greeting: `Plain`}},
		{Name: "recognised", Rules: []string{"mark"}, Products: []string{"old", "gateway", "plain"}},
	}}
}

// productTalk begins a session with a server that greets so.
func productTalk(t *testing.T, m memory, greeting string, names ...string) *talk {
	t.Helper()
	if names == nil {
		names = []string{"recognised"}
	}
	rules, errs := productBook().Compile(names, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	k := &talk{T: t}
	k.d = rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}, netip.MustParseAddr("192.0.2.7"), &k.ledger)
	t.Cleanup(k.d.Close)
	if m != nil {
		k.d.Serves(m)
	}
	k.server("220 "+greeting, "", "220 "+greeting)
	return k
}

// noop wants NOOP to reach the server so.
func (k *talk) noop(want string) {
	k.Helper()
	k.client("NOOP", want, "")
	k.server("250 ok", "", "250 ok")
}

func (k *talk) products(want ...rewrite.Product) {
	k.Helper()
	if got := k.d.Products(); !slices.Equal(got, want) {
		k.Errorf("the products are %v, not %v", got, want)
	}
}

func TestTheGreetingOfAProductHasItsRulesActWithItsOptions(t *testing.T) {
	for greeting, want := range map[string]string{
		"mail.example.com ESMTP":             "NOOP usual!",
		"mail.example.com Old Mail 1.0":      "NOOP old!",
		"mail.example.com Gateway":           "NOOP gateway!",
		"mail.example.com Gateway, Old Mail": "NOOP old!", // the first of the list
		"mail.example.com Plain":             "NOOP usual!",
	} {
		k := productTalk(t, nil, greeting)
		k.noop(want)
		line := "RSET"
		if strings.Contains(greeting, "Old Mail") {
			line = "RSET x"
		}
		k.client("RSET", line, "")
		if k.Failed() {
			t.Fatal(greeting)
		}
	}
	k := productTalk(t, nil, "mail.example.com Gateway, Old Mail")
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignGreeting}, rewrite.Product{Name: "gateway", By: vocabulary.SignGreeting})
	k.traces("~ old by its greeting", "~ gateway by its greeting")
}

// signed has a set for each of these greetings.
func signed(t *testing.T, greetings ...string) *rewrite.Rules {
	t.Helper()
	var book rewrite.Book
	all := rewrite.Set{Name: "all"}
	for i, greeting := range greetings {
		name := string(rune('a' + i))
		book.Sets = append(book.Sets, rewrite.Set{Name: name, Signs: rewrite.Signs{Greeting: greeting, Offer: `\nX-` + greeting}})
		all.Products = append(all.Products, name)
	}
	book.Sets = append(book.Sets, all)
	rules, errs := book.Compile([]string{"all"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// told are the products of a session with a server that greets so, and that offers these
// keywords if there are any.
func told(t *testing.T, rules *rewrite.Rules, greeting string, keywords ...string) string {
	t.Helper()
	k := &talk{T: t}
	k.d = rewrite.New(&rewrite.Policy{Rules: rules}, netip.Addr{}, &k.ledger)
	t.Cleanup(k.d.Close)
	k.server(greeting, "", greeting)
	if keywords != nil {
		k.hello(keywords...)
	}
	var names []string
	for _, p := range k.d.Products() {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestOfProductsThatBeginAlikeEachIsTold(t *testing.T) {
	rules := signed(t, `Old Mail`, `Old Mailer`, `Old (?:Post|Letters)`, `Ol[ds] [0-9]`, `(?i)OLDER`, `^[*2 ]*\*[*2 ]*$`)
	for greeting, want := range map[string]string{
		"Old Mail": "a", "Old Mailer": "a b", "Old Post": "c", "Old Letters": "c", "Ols 2": "d", "Old 2": "d", "Old": "", "O": "", "Old Mai": "",
		"oLdeR": "e", "**2**": "f", "*": "f", "2*": "f", "OldMail, Old Mail Old Mailer older": "a b e", "OldMail": "",
	} {
		if got := told(t, rules, "220 "+greeting); got != want {
			t.Errorf("%q tells %q, not %q", greeting, got, want)
		}
	}
}

// The time of day is in many greetings.
func TestAGreetingThatChangesWithTheClockTellsTheSameProduct(t *testing.T) {
	rules := signed(t, `Old Mail [0-9.]+ ready at`)
	for _, at := range []string{"Sat, 28 Aug 1999 09:32:00 -0400", "Sun, 29 Aug 1999 00:00:00 -0400", "Sat, 28 Aug 1999 09:32:00 -0400"} {
		if got := told(t, rules, "220 mail.example.com Old Mail 1.0 ready at "+at); got != "a" {
			t.Errorf("at %s it tells %q", at, got)
		}
		if got := told(t, rules, "220 mail.example.com New Mail 1.0 ready at "+at); got != "" {
			t.Errorf("another server at %s tells %q", at, got)
		}
	}
}

func TestASignIsFoundAnywhereInALongReply(t *testing.T) {
	rules := signed(t, `^first\n\n?mail`, `last$`, `FAR`)
	long := strings.Repeat("x", 400)
	for greeting, want := range map[string]string{
		"220-first|220 mail": "a", "220-first|220-|220 mail": "a", "220-|220-first|220 mail": "",
		"220-" + long + "|220-" + long + "|220 last": "b", "220-last|220 " + long: "",
	} {
		if got := told(t, rules, greeting); got != want {
			t.Errorf("%.40q tells %q, not %q", greeting, got, want)
		}
	}
	if got := told(t, rules, "220 mail.example.com", "SIZE", "X-"+long, "X-FAR"); got != "c" {
		t.Errorf("the last of many keywords tells %q", got)
	}
}

func TestAnEHLOReplyTellsAProductAndIsRememberedUntilTheGreetingChanges(t *testing.T) {
	m := memory{}
	k := productTalk(t, m, "mail.example.com 1.0 ready at Sat, 28 Aug 1999 09:32:00 -0400 id a1b2c3d4.5")
	k.noop("NOOP usual!")
	k.hello("SIZE", "X-OLD")
	k.noop("NOOP old!!") // its state is that of the rule
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignEHLO})
	if len(m) == 0 {
		t.Fatal("nothing is remembered")
	}
	k = productTalk(t, m, "mail.example.com 1.0 ready at Sun, 12 Sep 1999 10:00:00 -0400 id 5d4c3b2a.1")
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignRemembered})
	k.noop("NOOP old!")
	k.hello("SIZE", "X-OLD")
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignEHLO})
	for _, greeting := range []string{
		"mail.example.com 2.0 ready at Sat, 28 Aug 1999 09:32:00 -0400 id a1b2c3d4.5", // another version
		"mx2.example.com 1.0 ready at Sat, 28 Aug 1999 09:32:00 -0400 id a1b2c3d4.5",  // another host
		"mail.example.com ESMTP",
	} {
		k = productTalk(t, m, greeting)
		k.products()
		k.noop("NOOP usual!")
	}
	k = productTalk(t, m, "mail.example.com 1.0 ready at Sat, 28 Aug 1999 09:32:00 -0400 id a1b2c3d4.5")
	k.hello("SIZE") // which is newer
	k.products()
	k.noop("NOOP usual!")
}

func TestAHELPReplyTellsAProduct(t *testing.T) {
	m := memory{}
	k := productTalk(t, m, "mail.example.com")
	k.client("HELP", "HELP", "")
	k.server("214-Old commands:|214 HELO", "", "214-Old commands:|214 HELO")
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignHELP})
	k.noop("NOOP old!")
	productTalk(t, m, "mail.example.com").products(rewrite.Product{Name: "old", By: vocabulary.SignRemembered})
}

func TestACommandTellsTheClientsProduct(t *testing.T) {
	k := productTalk(t, nil, "mail.example.com Old Mail")
	k.client("X-EXPS NTLM", "X-EXPS NTLM", "")
	k.server("504 no", "", "504 no")
	k.products(rewrite.Product{Name: "old", By: vocabulary.SignGreeting}, rewrite.Product{Name: "gateway", By: vocabulary.SignCommand})
	k.noop("NOOP old!") // the first of the list
	k = productTalk(t, nil, "mail.example.com")
	k.client("X-EXPS NTLM", "X-EXPS NTLM", "")
	k.server("504 no", "", "504 no")
	k.noop("NOOP gateway!")
}

// A session may have had a connection to another server before.
func TestAFreshGreetingTakesTheProductAway(t *testing.T) {
	rules, errs := productBook().Compile([]string{"recognised"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	k := &talk{T: t}
	k.d = rewrite.New(&rewrite.Policy{Rules: rules, ServerTLS: rewrite.ServerTLSOpportunistic}, netip.Addr{}, &k.ledger)
	t.Cleanup(k.d.Close)
	k.server("220 mail.example.com Old Mail", "", "220 mail.example.com Old Mail")
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
	k.server("220 go on", "", "")
	k.d.ServerTLSFailed()
	k.server("220 mail.example.com ESMTP", "EHLO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.products()
	k.noop("NOOP usual!")
}

func TestProductsAreChosenAndTakenAwayWithTheirSet(t *testing.T) {
	for _, c := range []struct {
		names string
		want  string // what reaches a server of the product old
		rules string
		scope string // of mark
		looks string
	}{
		{"recognised", "NOOP old!", "mark other", "", "old gateway plain"},
		{"mark", "NOOP usual!", "mark", "", ""},
		{"recognised -mark", "NOOP", "other", "", "old gateway plain"},
		{"recognised -recognised other", "NOOP", "other", "", ""},
		{"recognised -old", "NOOP usual!", "mark", "", "gateway plain"},
		{"recognised -plain", "NOOP old!", "mark other", "", "old gateway"},
		{"recognised -old -recognised mark", "NOOP usual!", "mark", "", ""},
		{"gateway recognised", "NOOP old!", "mark other", "", "old gateway plain"},
		{"old", "NOOP old!", "mark other", "", ""},
	} {
		names := strings.Fields(c.names)
		rules, errs := productBook().Compile(names, nil)
		if errs != nil {
			t.Fatal(errs)
		}
		if got := strings.Join(rules.Names(), " "); got != c.rules || rules.Scope("mark") != c.scope || strings.Join(rules.Products(), " ") != c.looks {
			t.Errorf("%s: the rules are %q, mark is for %q, and it looks for %q", c.names, got, rules.Scope("mark"), rules.Products())
		}
		productTalk(t, nil, "mail.example.com Old Mail", names...).noop(c.want)
	}
	rules, _ := productBook().Compile([]string{"recognised"}, nil)
	if got := rules.Scope("other"); got != "products old" {
		t.Errorf("other is for %q", got)
	}
}

// What the configuration says of a rule comes before what is known of a product.
func TestTheConfigurationsOptionsComeBeforeAProducts(t *testing.T) {
	rules, errs := productBook().Compile([]string{"recognised"}, map[string]map[string]any{"mark": {"word": "mine", "clients": []any{"192.0.2.0/24"}}})
	if errs != nil {
		t.Fatal(errs)
	}
	for _, c := range []struct{ client, want string }{{"192.0.2.7", "NOOP mine!"}, {"198.51.100.7", "NOOP"}} {
		k := &talk{T: t}
		k.d = rewrite.New(&rewrite.Policy{Rules: rules}, netip.MustParseAddr(c.client), &k.ledger)
		t.Cleanup(k.d.Close)
		k.server("220 mail.example.com Old Mail", "", "220 mail.example.com Old Mail")
		k.noop(c.want)
	}
	if _, errs := productBook().Compile([]string{"recognised"}, map[string]map[string]any{"mark": {"word": int64(1)}}); len(errs) != 1 {
		t.Errorf("a mistake in an option is reported as %v", errs)
	}
}

func TestASignThatIsNoPatternIsReported(t *testing.T) {
	book := rewrite.Book{Sets: []rewrite.Set{
		{Name: "bad", Signs: rewrite.Signs{Greeting: "("}}, {Name: "all", Products: []string{"bad"}},
	}}
	if _, errs := book.Compile([]string{"all"}, nil); len(errs) != 1 || !strings.Contains(errs[0].Error(), "not a regular expression") {
		t.Errorf("the errors are %v", errs)
	}
}

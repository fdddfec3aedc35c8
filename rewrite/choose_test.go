package rewrite_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A picker chooses one of n, as a fuzzer says.
type picker func(n int) int

// pickFrom picks by one octet after the other, and the first of n when they are used up.
func pickFrom(data []byte) picker {
	return func(n int) int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b) % n
	}
}

// chooseRules picks rules of the table: a set, one rule, two of them, all, or any,
// with options that it picks. A rule that is new in the table is picked too.
func chooseRules(pick picker) (names []string, options map[string]map[string]any) {
	table := heal.Table()
	var chosen []rewrite.Rule
	switch pick(9) {
	case 8:
		return []string{"auto"}, map[string]map[string]any{}
	case 0:
		return []string{"standard"}, map[string]map[string]any{}
	case 1:
		return []string{"standard", "bdat-to-data"}, map[string]map[string]any{}
	case 2:
		chosen = append(chosen, table[pick(len(table))])
	case 3:
		chosen = append(chosen, table[pick(len(table))], table[pick(len(table))])
	case 4:
		chosen = table
	default:
		for _, r := range table {
			if pick(2) > 0 {
				chosen = append(chosen, r)
			}
		}
	}
	return withOptions(chosen, rewrite.ScopeOptions(), pick)
}

// withOptions picks the options of rules, and these that all of them have.
func withOptions(chosen []rewrite.Rule, common []rewrite.Option, pick picker) (names []string, options map[string]map[string]any) {
	options = map[string]map[string]any{}
	for _, r := range chosen {
		names = append(names, r.Name)
		options[r.Name] = map[string]any{}
		for _, o := range slices.Concat(r.Options, common) {
			if v := chooseOption(o, pick); v != nil {
				options[r.Name][o.Name] = v
			}
		}
	}
	return names, options
}

// chooseOption picks the value of an option; nil is its default.
func chooseOption(o rewrite.Option, pick picker) any {
	switch o.Name { // what rules cannot be in force without
	case "keywords":
		return []string{"PIPELINING", "STARTTLS"}[:1+pick(2)]
	case "unfold":
		return []string{"From", "h"}
	case "mechanisms":
		return []string{"LOGIN", "XOAUTH2"}[:1+pick(2)]
	case "names", "domains":
		return map[string]any{"dXNlcg==": "mapped", "example.net": "mapped.example.com"}
	}
	if pick(3) > 0 {
		return nil
	}
	switch {
	case o.Name == "clients":
		return []any{[]any{"192.0.2.0/24", "198.51.100.0/24"}[pick(2)]}
	case o.Name == "hello" || o.Name == "banner":
		return []any{"example", "nobody"}[pick(2)]
	case o.Name == "remove":
		return []any{"Sender", "h"}
	case o.Name == "add":
		return []any{"Date", "Message-ID"}
	case o.Name == "length":
		return int64(78 + pick(200))
	case strings.HasSuffix(o.Name, "_characters"):
		return "%|"
	case o.Name == "codes":
		if _, ok := o.Default.([]string); ok {
			return []any{"535", "534"}
		}
		return map[string]any{"550 a": "450", "554": "421", "451": "554"}
	case o.Name == "refused":
		return []any{"AUTH", "BODY"}
	case o.Values != nil:
		return o.Values[pick(len(o.Values))]
	}
	switch o.Default.(type) {
	case bool:
		return pick(2) == 0
	case int64:
		return int64(pick(int(min(o.Most, 255)) + 1))
	case []string:
		return []any{"other.example.com"}
	case map[string]string:
		return map[string]any{"sub2.": "mapped.example.com"}
	}
	return "other.example.com"
}

// compileChosen puts rules in force that were picked. An option that does not take the
// value is left at its default, and a rule that does not take the default is left out.
// The options that are in force are left in options.
func compileChosen(t testing.TB, names []string, options map[string]map[string]any) *rewrite.Rules {
	t.Helper()
	for {
		rules, errs := heal.Compile(names, options)
		if errs == nil {
			return rules
		}
		e, ok := errs[0].(*rewrite.ConfigError)
		if !ok || e.Rule == "" {
			t.Fatal(errs)
		}
		if _, set := options[e.Rule][e.Option]; set {
			delete(options[e.Rule], e.Option)
			continue
		}
		if !slices.Contains(names, e.Rule) {
			t.Fatal(errs)
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == e.Rule })
		delete(options, e.Rule)
	}
}

// everyRule is all rules of the table at once, with the options that they need.
func everyRule(t testing.TB) *rewrite.Rules {
	t.Helper()
	names, options := withOptions(heal.Table(), nil, func(n int) int { return n - 1 }) // the default, where there is one
	rules := compileChosen(t, names, options)
	if got := rules.Names(); len(got) != len(heal.Table()) {
		t.Fatalf("in force are %d rules of %d: %q", len(got), len(heal.Table()), got)
	}
	return rules
}

func TestAllRulesCanBeInForceAtOnce(t *testing.T) { everyRule(t) }

// TestEachRuleAloneInPairsAndAllAtOnce plays peers that do whatever they like against
// each rule, each pair of rules, and all of them, by the same measure as FuzzDialogue.
func TestEachRuleAloneInPairsAndAllAtOnce(t *testing.T) {
	table, got, seed := heal.Table(), newReached(), uint64(0)
	play := func(times int, chosen ...rewrite.Rule) {
		for i := range times {
			seed++
			p := &peers{T: t, data: noise(seed, 800), got: got, polite: i%4 < 3, odd: true}
			names, options := withOptions(chosen, nil, p.pick) // limited to no clients: each acts
			policy := &rewrite.Policy{Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}
			if i%4 == 2 {
				policy = p.route(nil)
			}
			policy.Rules = compileChosen(t, names, options)
			p.play(policy, options)
		}
	}
	for i := range table {
		play(40, table[i])
		for j := range i {
			if !testing.Short() || (i+j)%7 == 0 {
				play(4, table[i], table[j])
			}
		}
	}
	play(200, table...)
	for _, r := range table {
		if got.rules[r.Name] < len(table)/7 {
			t.Errorf("%s was in force %d times", r.Name, got.rules[r.Name])
		}
	}
	if len(got.applied) < len(table)/2 {
		t.Errorf("%d rules of %d have changed something", len(got.applied), len(table))
	}
	t.Logf("%d sessions; %d rules of %d have changed something: %v", seed, len(got.applied), len(table), got.applied)
}

// noise is n octets that look random, the same for the same seed.
func noise(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 17))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// A set may bring options for its rules: what is known of a product.
func TestASetBringsOptionsThatTheConfigurationOverrides(t *testing.T) {
	var got string
	book := rewrite.Book{
		Rules: []rewrite.Rule{{Name: "mend", Options: []rewrite.Option{{Name: "when", Default: "asked"}},
			Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
				got = o.Text("when")
				return rewrite.Actions{}, nil
			}}},
		Sets: []rewrite.Set{
			{Name: "standard", Rules: []string{"mend"}},
			{Name: "product", Rules: []string{"mend"}, Options: map[string]map[string]any{"mend": {"when": "always"}}},
		},
	}
	given := map[string]map[string]any{"mend": {"when": "never"}}
	for _, c := range []struct {
		names   []string
		options map[string]map[string]any
		want    string
	}{
		{[]string{"standard"}, nil, "asked"},
		{[]string{"product"}, nil, "always"},
		{[]string{"product", "standard"}, nil, "always"},
		{[]string{"standard", "product", "-product", "mend"}, nil, "asked"},
		{[]string{"product"}, given, "never"},
	} {
		got = ""
		if _, errs := book.Compile(c.names, c.options); errs != nil || got != c.want {
			t.Errorf("%q with %v: the option is %q, errors %v; want %q", c.names, c.options, got, errs, c.want)
		}
	}
}

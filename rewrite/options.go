package rewrite

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/oneof"
)

// An Option is one option of a rule: a key of the table [route.options.NAME] in the
// configuration, where NAME is the name of the rule.
type Option struct {
	Name    string
	Default any // string, int64, []string or map[string]string; its type is the option's
	Doc     string
	Values  []string // the allowed values of a string; nil: any
	Most    int64    // the largest allowed number; the smallest is 0
}

// Options are the values of a rule's options. Each option is present, with the type of
// its default. A method panics if the name is unknown or the type differs.
type Options map[string]any

// Text returns the value of the option called name, which is a string.
func (o Options) Text(name string) string { return optionOf[string](o, name) }

// Number returns the value of the option called name, which is a number.
func (o Options) Number(name string) int64 { return optionOf[int64](o, name) }

// List returns the value of the option called name, which is a list of strings.
func (o Options) List(name string) []string { return optionOf[[]string](o, name) }

// Table returns the value of the option called name, which is a table of strings.
func (o Options) Table(name string) map[string]string { return optionOf[map[string]string](o, name) }

func optionOf[T any](o Options, name string) T {
	v, ok := o[name].(T)
	if !ok {
		panic(fmt.Sprintf("the rule reads an option %q of type %T; it has %v", name, v, slices.Sorted(maps.Keys(o))))
	}
	return v
}

// A ConfigError is a mistake in the choice of rules and sets, or in an option.
type ConfigError struct {
	Rule   string // the rule or set, as it was named; "": no single one is wrong
	Option string // the option that is wrong; "": no single one is
	Err    error
}

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// AllOptions returns the options of r, followed by those that every rule has.
func (r *Rule) AllOptions() []Option { return slices.Concat(r.Options, ScopeOptions()) }

// checkOptions returns the options with defaults filled in, and the mistakes found.
func (r *Rule) checkOptions(given map[string]any) (Options, []error) {
	known := r.AllOptions()
	values := Options{}
	for _, o := range known {
		values[o.Name] = o.Default
	}
	var errs []error
	for name, v := range given {
		i := slices.IndexFunc(known, func(o Option) bool { return o.Name == name })
		if i < 0 {
			errs = append(errs, &ConfigError{r.Name, name, r.noSuchOption(name, known)})
			continue
		}
		value, err := known[i].check(v)
		if err != nil {
			errs = append(errs, &ConfigError{r.Name, name, err})
			continue
		}
		values[name] = value
	}
	return values, errs
}

func (r *Rule) noSuchOption(name string, known []Option) error {
	var have []string
	for _, o := range known {
		have = append(have, o.Name)
	}
	return fmt.Errorf("%s has no option %q; it has %s", r.Name, name, oneof.Names(have))
}

// check converts a value to the option's type.
func (o *Option) check(v any) (any, error) {
	switch want := o.Default.(type) {
	case map[string]string:
		table, err := stringTable(v)
		if err != nil {
			return nil, fmt.Errorf("%w; %s holds %s", err, o.Name, o.Doc)
		}
		return table, nil
	case []string:
		return stringList(v)
	case int64:
		n, ok := v.(int64)
		if !ok || n < 0 || n > o.Most {
			return nil, fmt.Errorf("%s is not a whole number from 0 to %d", asWritten(v), o.Most)
		}
		return n, nil
	case string:
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s is not a string", asWritten(v))
		}
		if o.Values == nil {
			return s, nil
		}
		if _, err := oneof.Index(s, o.Values); err != nil {
			return nil, err
		}
		return s, nil
	default:
		return nil, fmt.Errorf("no value of type %T is understood", want)
	}
}

// asWritten formats a value as in the configuration file, for a message.
func asWritten(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			list = append(list, asWritten(e))
		}
		return "[" + strings.Join(list, ", ") + "]"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(v)
}

func stringList(v any) ([]string, error) {
	if list, ok := v.([]string); ok {
		return list, nil
	}
	if s, ok := v.(string); ok {
		return nil, fmt.Errorf("%q is not a list of strings; write [%q]", s, s)
	}
	raw, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a list of strings", asWritten(v))
	}
	list := make([]string, 0, len(raw))
	for _, v := range raw {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("the list contains %s, which is not a string", asWritten(v))
		}
		list = append(list, s)
	}
	return list, nil
}

func stringTable(v any) (map[string]string, error) {
	if t, ok := v.(map[string]string); ok {
		return t, nil
	}
	raw, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a table of strings", asWritten(v))
	}
	t := map[string]string{}
	for k, v := range raw {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("the value of %q is %s, which is not a string", k, asWritten(v))
		}
		t[k] = s
	}
	return t, nil
}

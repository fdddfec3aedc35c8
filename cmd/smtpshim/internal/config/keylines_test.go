package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestEachKeyIsFoundOnItsLine(t *testing.T) {
	const text = "\ufeff# [not.a.table]\r\n" + `top = 1 # a = 2
"qu.oted" = '''
[no]
key = 1''''' # two quotation marks end the text
'lit\eral' = "a \" # b" # c = 3
list = [ "]", # ]
  [1, 2],
  { in = "x" },
]
empty = ""
dotted . "two" = """\
[no] \""" x = 1
"""
after = ''
[ table ] # [no]
key = {
  inner = 1 }
[[route]]
name = "a"
[route.limits]
sessions = 1
[[route.deep]]
x = 1
[[route.deep]]
x = 2
[ "route" . 'limits2' ]
last = '\'
[[route]]
name = "b"
[[route.deep]]
x = 3
[other]
end = 1`
	want := keyIndex{
		"top": 2, `"qu.oted"`: 3, `"lit\\eral"`: 6, "list": 7, "empty": 11,
		"dotted": 12, "dotted.two": 12, "after": 15,
		"table": 16, "table.key": 17,
		"route": 19, "route[0]": 19, "route[0].name": 20,
		"route[0].limits": 21, "route[0].limits.sessions": 22,
		"route[0].deep": 23, "route[0].deep[0]": 23, "route[0].deep[0].x": 24,
		"route[0].deep[1]": 25, "route[0].deep[1].x": 26,
		"route[0].limits2": 27, "route[0].limits2.last": 28,
		"route[1]": 29, "route[1].name": 30,
		"route[1].deep": 31, "route[1].deep[0]": 31, "route[1].deep[0].x": 32,
		"other": 33, "other.end": 34,
	}
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		t.Fatal("the text of this test is wrong: ", err)
	}
	if got := indexKeys(text); !maps.Equal(got, want) {
		for path := range want {
			if got[path] != want[path] {
				t.Errorf("%s: line %d, want %d", path, got[path], want[path])
			}
		}
		for path := range got {
			if _, ok := want[path]; !ok {
				t.Errorf("%s: line %d, and is no key", path, got[path])
			}
		}
	}
}

func TestWhatIsNotIndexedStandsWhereItsTableDoes(t *testing.T) {
	x := keyIndex{"a": 1, "route": 3, "route[1]": 5, `route[1]."x.y[0]"`: 7}
	for path, want := range map[string]int{
		"a": 1, "a.b.c": 1, "a[3]": 1, "b": 0, "": 0,
		"route[0].name": 3, "route[1].name": 5, "route[1].limits.sessions": 5,
		`route[1]."x.y[0]"`: 7, `route[1]."x.y[0]"."a\"]b"`: 7, `route[1]."z.y[0]"`: 5,
	} {
		if got := x.line(path); got != want {
			t.Errorf("%s: line %d, want %d", path, got, want)
		}
	}
}

// Whatever the decoder accepts is indexed: its outermost keys are found, on
// lines that there are.
func FuzzIndexFindsEveryKeyThatIsDecoded(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../../../../config.example.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		values := map[string]any{}
		if _, err := toml.Decode(text, &values); err != nil {
			return
		}
		index := indexKeys(text)
		for key := range values {
			if index[join("", key)] == 0 && !strings.Contains(text, `\`) { // escapes are not all understood
				t.Errorf("%q is not found: %v", key, index)
			}
		}
		for path, line := range index {
			if line < 1 || line > 1+strings.Count(text, "\n") {
				t.Errorf("%s: line %d", path, line)
			}
		}
	})
}

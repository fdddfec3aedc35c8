package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// A key of the text is followed by its number in the text.
func TestEachKeyIsFoundAtItsPlaceEvenInAnInlineTable(t *testing.T) {
	const text = `top0 = { a1 = [1, "2, x = 3"], "b2" = { c3.d4 = '}', e5 = 1 }, f6 = {} } # g9 = 1
list7 = [ { h8 = 1 }, 2, [ { i9 = [] } ] ]
[t10] # {
"j.k11" = {}
[[t12]]
l13 = 1
[[t12]]
l14 = 2`
	want := []string{"top0", "top0.a1", "top0.b2", "top0.b2.c3", "top0.b2.e5", "top0.f6", "list7", "list7[0].h8", "list7[2][0].i9",
		"t10", `t10."j.k11"`, "t12", "t12[0].l13", "t12[1]", "t12[1].l14"}
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		t.Fatal("the text of this test is wrong: ", err)
	}
	x := indexOffsets(text)
	at := -1
	for _, path := range want {
		offset, ok := x[path]
		if !ok || offset <= at {
			t.Errorf("%s: offset %d, %v; the one before has %d", path, offset, ok, at)
		}
		at = offset
		name := strings.Trim(path[strings.LastIndex(path, ".")+1:], `"`)
		if !strings.Contains(name, "[") && !strings.HasPrefix(strings.TrimLeft(text[offset:], `["jc3d4.`), strings.TrimLeft(name, `["jc3d4.`)) {
			t.Errorf("%s: at %q", path, text[offset:])
		}
	}
	if x["top0.b2.c3.d4"] != x["top0.b2.c3"] {
		t.Errorf("a dotted key is in two places")
	}
	if offset := x.offset("t12[1].none.at.all"); offset != x["t12[1]"] {
		t.Errorf("what is not there is at %d, and its table at %d", offset, x["t12[1]"])
	}
}

func TestDeepValuesEnd(t *testing.T) {
	const deep = 100_000
	text := "x = " + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "\ny = 1\n"
	x := indexOffsets(text)
	if _, ok := x["y"]; !ok || len(x) > 2*maxDepth {
		t.Errorf("%d paths, and y is among them: %v", len(x), ok)
	}
}

func TestMistakesOnOneLineAreInTheOrderOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, `[[route]]
name = "in"
listen = ["127.0.0.1:99999", "127.0.0.1:0"]
servers = ["192.0.2.1:25"]
timeouts = { zzz = 1, reply = "1x", aaa = 2, connect = "2x" }
`)
	_, err := Read(path, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.Fields(strings.TrimPrefix(line, path+":"))[1])
	}
	want := []string{"route.listen:", "route.listen:", "route.timeouts.zzz:", "route.timeouts.reply:", "route.timeouts.aaa:", "route.timeouts.connect:"}
	if !slices.Equal(got, want) || strings.Index(err.Error(), "99999") > strings.Index(err.Error(), `"127.0.0.1:0"`) {
		t.Errorf("got %q, want %q:\n%v", got, want, err)
	}
}

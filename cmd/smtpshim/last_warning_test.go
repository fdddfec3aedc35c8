package main

import (
	"log/slog"
	"testing"
)

func TestALiveCheckSaysOnceWhatToDo(t *testing.T) {
	for _, c := range []struct{ err, do, want string }{
		{"get token: wrong secret; store its value", "store its value", "no token; err get token: wrong secret; what to do: store its value"},
		{"get token: wrong secret", "store its value", "no token; err get token: wrong secret; what to do: store its value"},
		{"get token: connection refused", "", "no token; err get token: connection refused"},
	} {
		var told lastWarning
		slog.New(&told).Warn("no token", "err", c.err, "do", c.do)
		if got := told.text(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

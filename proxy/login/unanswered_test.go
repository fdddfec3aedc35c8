package login

import (
	"context"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// A server that is lost within the login, or breaks the protocol there, ends the session:
// nothing else would count it.
func TestALoginThatTheServerDoesNotAnswerHasFailed(t *testing.T) {
	for name, c := range map[string]struct {
		said []rewrite.Reply // by the server, to the login
		want []string
	}{
		"lost":         {nil, []string{"in office PLAIN failed"}},
		"yes":          {[]rewrite.Reply{{Code: 235, Lines: []string{"yes"}}}, []string{"in office PLAIN ok"}},
		"no":           {[]rewrite.Reply{{Code: 454, Lines: []string{"later"}}}, []string{"in office PLAIN refused"}},
		"no, then yes": {[]rewrite.Reply{{Code: 454, Lines: []string{"later"}}, {Code: 235, Lines: []string{"yes"}}}, []string{"in office PLAIN refused", "in office PLAIN ok"}},
	} {
		var told heard
		a := office(t, func(s *AccountSettings) { s.Observer, s.Sessions = &told, 1 })
		l, err := New(Settings{Route: "in", Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}})
		if err != nil {
			t.Fatal(err)
		}
		s := l.Unasked(from("192.0.2.1", false))
		for i := range max(1, len(c.said)) {
			x, r := s.Begin(context.Background(), []string{"PLAIN"})
			if r.Code != 0 {
				t.Fatalf("%s: told %v", name, r)
			}
			if _, err := x.Start(); err != nil {
				t.Fatal(err)
			}
			if i < len(c.said) {
				s.Ended(c.said[i], nil)
			}
		}
		s.Close()
		s.Close()
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: the observer is told %q, want %q", name, strings.Join(told, ", "), c.want)
		}
		if len(a.places) != 0 {
			t.Errorf("%s: a place is still taken", name)
		}
	}
}

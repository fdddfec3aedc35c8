package token

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		first := must(t, s)
		for range 3 { // sessions that were refused with the same token
			if !s.Refused(first) {
				t.Error("there is no other token for a session whose token was refused, want one")
			}
		}
		second := must(t, s)
		if second.equal(first) || e.count() != 2 {
			t.Fatalf("there were %d requests, want 2 and another token", e.count())
		}
		for range 100 {
			if s.Refused(second) {
				t.Fatal("the second token was dropped as soon as it was refused, want it kept for a while")
			}
			if !must(t, s).equal(second) {
				t.Fatal("the token has changed, want the second one")
			}
		}
		if e.count() != 2 {
			t.Errorf("there were %d requests, want 2", e.count())
		}
	})
}

func TestServerThatRefusesAllDayCausesFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		for range 24 * 60 * 6 { // a session every ten seconds
			s.Refused(must(t, s))
			time.Sleep(10 * time.Second)
		}
		if n := e.count(); n > 24*3 {
			t.Errorf("there were %d requests in a day, want some 60", n)
		}
	})
}

func TestRefusalOfATokenThatIsGoneChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		first := must(t, s)
		time.Sleep(55 * time.Minute)
		second := must(t, s)
		if !s.Refused(first) || !must(t, s).equal(second) || e.count() != 2 {
			t.Errorf("the refusal of an old token made %d requests, want 2 and the token kept", e.count())
		}
		if s.Refused(Token{}) {
			t.Error("the zero token was taken for a refused one")
		}
	})
}

package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy/login/sasl"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

func office(t *testing.T, change func(*AccountSettings)) *Account {
	t.Helper()
	s := AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("s3cret-password")}
	if change != nil {
		change(&s)
	}
	a, err := NewAccount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func from(address string, tls bool) rewrite.Caller {
	a, _ := netip.ParseAddr(address)
	return rewrite.Caller{Address: a, TLS: tls}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// over ends waits at once.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestWhoMayLogInAsWhomFromWhere(t *testing.T) {
	a := office(t, nil)
	l, err := New(Settings{Entries: []Entry{
		{Networks: prefixes("192.0.2.64/28"), Account: a},
		{Networks: prefixes("192.0.2.0/24"), User: "canon", Secret: sasl.Password("short"), Account: a},
		{User: "erp", Secret: sasl.Password("longer"), Account: a},
	}})
	if err != nil {
		t.Fatal(err)
	}
	const strong = "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 NTLM PLAIN LOGIN"
	for _, test := range []struct {
		address      string
		tls          bool
		mechanisms   string
		unasked      bool
		canon, erp   bool
		somebody, no bool
	}{
		{address: "192.0.2.65", mechanisms: "LOGIN PLAIN", unasked: true, canon: true, erp: true, somebody: true},
		{address: "192.0.2.1", mechanisms: strong, canon: true},
		{address: "192.0.2.1", tls: true, mechanisms: strong, canon: true, erp: true},
		{address: "198.51.100.1"},
		{address: "198.51.100.1", tls: true, mechanisms: strong, erp: true},
		{address: "2001:db8::1"},
		{address: "", tls: true, mechanisms: strong, erp: true},
		{address: ""},
	} {
		c := from(test.address, test.tls)
		t.Run(fmt.Sprint(test.address, test.tls), func(t *testing.T) {
			if got := strings.Join(l.Mechanisms(c), " "); got != test.mechanisms {
				t.Errorf("may log in by %q, not %q", got, test.mechanisms)
			}
			if got := l.Unasked(c) != nil; got != test.unasked {
				t.Errorf("need not log in: %v", got)
			}
			for user, want := range map[string]bool{"canon\x00short": test.canon, "erp\x00longer": test.erp, "canon\x00longer": test.somebody, "x\x00y": test.somebody} {
				got := false
				if x := l.Accept(c, "PLAIN"); x != nil {
					x.Next(over(), sasl.Encode([]byte("\x00"+user)))
					in, refusal := x.Login()
					if got = in != nil; got == (refusal.Code != 0) {
						t.Errorf("%q: %v, and %v", user, in, refusal)
					}
				}
				if got != want {
					t.Errorf("%q logs in: %v, not %v", user, got, want)
				}
			}
		})
	}
}

func TestMistakesInLoginsAreErrors(t *testing.T) {
	a := office(t, nil)
	for want, e := range map[string]Entry{
		"login 1: no account": {Networks: prefixes("192.0.2.0/24")},
		`login 1: want networks, or a user: else anybody could send as account "office"`: {Account: a},
		"login 1: a user has a password, and a password a user":                          {User: "canon", Account: a},
		`network 0.0.0.0/0 is the whole Internet: anybody could send`:                    {Networks: prefixes("0.0.0.0/0"), Account: a},
	} {
		if _, err := New(Settings{Entries: []Entry{e}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, not %q", e, err, want)
		}
	}
	for want, s := range map[string]AccountSettings{
		"no user":                          {Name: "office", Password: sasl.Password("x")},
		"want either a password or tokens": {Name: "office", User: "x"},
		`mechanism "KERBER" is not one of "SCRAM-SHA-256"`: {Name: "office", User: "x", Password: sasl.Password("x"), Mechanisms: []string{"KERBER"}},
	} {
		if _, err := NewAccount(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestAfterTenWrongPasswordsAnAddressWaits(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	a := office(t, nil)
	l, err := New(Settings{Entries: []Entry{{User: "erp", Secret: sasl.Password("longer"), Account: a}}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	try := func(address, password string) int {
		x := l.Accept(from(address, true), "PLAIN")
		x.Next(over(), sasl.Encode([]byte("\x00erp\x00"+password)))
		_, refusal := x.Login()
		return refusal.Code
	}
	for range maxStrikes {
		if got := try("2001:db8::1", "wrong"); got != 535 {
			t.Fatalf("a wrong password gets %d", got)
		}
	}
	for address, want := range map[string]int{"2001:db8::1": 454, "2001:db8::ffff": 454, "2001:db8:0:1::1": 0, "192.0.2.1": 0} {
		if got := try(address, "longer"); got != want {
			t.Errorf("the right password from %s gets %d, not %d", address, got, want)
		}
	}
	now = now.Add(strikesLast + time.Second)
	if got := try("2001:db8::1", "longer"); got != 0 {
		t.Errorf("after ten minutes: %d", got)
	}
}

func TestAMinuteLetsSoManyPass(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	m := newMinute(3)
	for i := range 3 {
		if wait := m.take(now); wait != 0 {
			t.Fatalf("message %d waits %v", i, wait)
		}
		now = now.Add(time.Second)
	}
	if wait := m.take(now); wait != 57*time.Second {
		t.Errorf("the fourth waits %v", wait)
	}
	if err := m.pass(context.Background(), func() time.Time { return now }, 10*time.Second); !errors.Is(err, errBusy) {
		t.Errorf("a wait that is too long gives %v", err)
	}
	now = now.Add(57 * time.Second)
	if wait := m.take(now); wait != 0 {
		t.Errorf("a minute later it waits %v", wait)
	}
}

func TestNoMoreSessionsThanAnAccountHas(t *testing.T) {
	a := office(t, func(s *AccountSettings) { s.Sessions = 3; s.Wait = time.Minute })
	l, err := New(Settings{Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}})
	if err != nil {
		t.Fatal(err)
	}
	var inside, most, served atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			s := l.Unasked(from("192.0.2.1", false))
			defer s.Close()
			if _, r := s.Begin(context.Background(), []string{"PLAIN"}); r.Code != 0 {
				t.Errorf("told %v", r)
				return
			}
			for n := inside.Add(1); n > most.Load(); {
				most.Store(n)
			}
			served.Add(1)
			inside.Add(-1)
		})
	}
	wg.Wait()
	if most.Load() > 3 || served.Load() != 1000 {
		t.Errorf("%d at once, %d served", most.Load(), served.Load())
	}
	for range 3 {
		l.Unasked(from("192.0.2.1", false)).Begin(context.Background(), []string{"PLAIN"})
	}
	if _, r := l.Unasked(from("192.0.2.1", false)).Begin(over(), []string{"PLAIN"}); r.Code != 451 {
		t.Errorf("where all places are taken the client hears %v", r)
	}
}

// What is logged of a refused login helps, and holds no password.
func TestARefusalIsLoggedWithoutSecrets(t *testing.T) {
	var text bytes.Buffer
	a := office(t, func(s *AccountSettings) { s.Log = slog.New(slog.NewTextHandler(&text, nil)) })
	l, err := New(Settings{Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}, Log: a.Log})
	if err != nil {
		t.Fatal(err)
	}
	s := l.Unasked(from("192.0.2.1", false))
	s.Begin(context.Background(), []string{"LOGIN"})
	r := s.Ended(rewrite.Reply{Code: 535, Lines: []string{"5.7.139 Authentication unsuccessful, basic authentication is disabled."}}, nil)
	if r.Code != 535 {
		t.Errorf("the client hears %v", r)
	}
	fmt.Fprintf(&text, "%v %+v %#v", s, a, l)
	for _, want := range []string{"account=office", "mechanism=LOGIN", "means=", "do=", "client=192.0.2.1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not in %s", want, &text)
		}
	}
	if strings.Contains(text.String(), "s3cret-password") {
		t.Errorf("the password is in %s", &text)
	}
}

// A session whose login fails leaves its place to others, however long its client stays.
func TestARefusedSessionKeepsNoPlace(t *testing.T) {
	a := office(t, func(s *AccountSettings) { s.Sessions = 1 })
	l, err := New(Settings{Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}})
	if err != nil {
		t.Fatal(err)
	}
	refused, offersNothing, next := l.Unasked(from("192.0.2.1", false)), l.Unasked(from("192.0.2.1", false)), l.Unasked(from("192.0.2.1", false))
	refused.Begin(context.Background(), []string{"PLAIN"})
	if r := refused.Ended(rewrite.Reply{Code: 454, Lines: []string{"4.7.0 not now"}}, nil); r.Code != 454 {
		t.Errorf("the refused client hears %v", r)
	}
	if _, r := offersNothing.Begin(context.Background(), nil); r.Code != 535 {
		t.Errorf("without a mechanism the client hears %v", r)
	}
	if _, r := next.Begin(over(), []string{"PLAIN"}); r.Code != 0 {
		t.Errorf("the next client hears %v", r)
	}
	refused.Close()
	next.Close()
	next.Close()
}

// Somebody who may not log in from where he is learns nothing of a user: the challenge is
// the same each time, as it is for a name that is nobody's.
func TestAChallengeDoesNotTellWhoIsKnown(t *testing.T) {
	l, err := New(Settings{Entries: []Entry{{User: "erp", Secret: sasl.Password("longer"), Account: office(t, nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	salt := func(user string) string {
		challenge, more := l.Accept(from("192.0.2.1", true), "SCRAM-SHA-256").Next(over(), sasl.Encode([]byte("n,,n="+user+",r=abcdefghijkl")))
		text, err := base64.StdEncoding.DecodeString(challenge)
		_, after, ok := strings.Cut(string(text), ",s=")
		if !more || err != nil || !ok {
			t.Fatalf("%q: %q, %v, %v", user, text, more, err)
		}
		return after
	}
	for _, user := range []string{"erp", "nobody"} {
		if one, other := salt(user), salt(user); one != other {
			t.Errorf("%s is challenged with %q, then with %q", user, one, other)
		}
	}
}

type heard []string

func (h *heard) LoggedIn(route, account, mechanism string, outcome vocabulary.LoginOutcome) {
	*h = append(*h, strings.Join([]string{route, account, mechanism, string(outcome)}, " "))
}

func TestTheObserverIsToldOfEachLogin(t *testing.T) {
	var told heard
	a := office(t, func(s *AccountSettings) {
		s.Observer = &told
		s.Sessions = 1
		s.Mechanisms = []string{"login", "plain"}
	})
	l, err := New(Settings{Route: "plant", Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}})
	if err != nil {
		t.Fatal(err)
	}
	in := func() rewrite.Login { return l.Unasked(from("192.0.2.1", false)) }
	first, second := in(), in()
	first.Begin(over(), []string{"PLAIN"})
	first.Ended(rewrite.Reply{Code: 235}, nil)
	second.Begin(over(), []string{"PLAIN"})
	first.Close()
	in().Begin(over(), []string{"XOAUTH2"})
	third := in()
	third.Begin(over(), []string{"LOGIN"})
	third.Ended(rewrite.Reply{}, errors.New("cancelled"))
	fourth := in()
	fourth.Begin(over(), []string{"LOGIN"})
	fourth.Ended(rewrite.Reply{Code: 535, Lines: []string{"5.7.8 no"}}, nil)
	in().Begin(over(), []string{"LOGIN"})
	want := []string{"plant office PLAIN ok", "plant office  busy", "plant office  failed", "plant office LOGIN failed", "plant office LOGIN refused", "plant office  refused"}
	if !slices.Equal(told, want) {
		t.Errorf("the observer was told\n%q, want\n%q", told, want)
	}
}

package token

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/rewrite/vocabulary"
)

func TestRefusalsOfTheEndpointSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		status            int
		code, description string
		kind              Kind
		aadsts, advice    string
	}{
		{401, "invalid_client", "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2", InvalidClient, "7000215", "the secret's value, not its ID"},
		{401, "invalid_client", "AADSTS7000222: The provided client secret keys are expired.", InvalidClient, "7000222", "has expired"},
		{400, "unauthorized_client", "AADSTS700016: Application not found", InvalidClient, "700016", "check client_id and tenant"},
		{400, "invalid_request", "AADSTS90002: Tenant not found", Rejected, "90002", "check tenant"},
		{400, "invalid_scope", "", Rejected, "", "check scopes"},
		{400, "invalid_client", "", InvalidClient, "", "check client_id and the client secret"},
		{400, "invalid_grant", "AADSTS50076: MFA", InvalidGrant, "50076", "smtpshim login office"},
		{400, "invalid_grant", "AADSTS53003: blocked", InvalidGrant, "53003", "Conditional Access"},
		{400, "interaction_required", "", InvalidGrant, "", "check the credentials"},
		{503, "temporarily_unavailable", "", Unavailable, "", ""},
		{400, "temporarily_unavailable", "", Unavailable, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			settings, _ := withSecret(t, refuses(c.status, c.code, c.description))
			err := fails(t, open(t, settings))
			if err.Kind != c.kind || err.AADSTS != c.aadsts || err.Status != c.status || err.Code != c.code || !strings.Contains(err.Advice, c.advice) {
				t.Errorf("%s %q: the error is %v, of kind %v; want kind %v with %q", c.code, c.description, err, err.Kind, c.kind, c.advice)
			}
			if strings.Contains(err.Error(), "Trace ID") || strings.Contains(err.Error(), "%s") || !strings.Contains(err.Error(), `"office"`) {
				t.Errorf("the error is %v", err)
			}
			if temporary := c.kind == Unavailable; err.Temporary() != temporary {
				t.Errorf("Temporary returns %v, want %v", err.Temporary(), temporary)
			}
		})
	}
}

func TestRetryAfterIsWaitedForWithinReason(t *testing.T) {
	for name, c := range map[string]struct {
		header func(now time.Time) string
		want   time.Duration
	}{
		"seconds":        {func(time.Time) string { return "120" }, 2 * time.Minute},
		"a date":         {func(now time.Time) string { return now.Add(2 * time.Minute).UTC().Format(http.TimeFormat) }, 2 * time.Minute},
		"too long":       {func(time.Time) string { return "86400" }, longRefusals},
		"a number below": {func(time.Time) string { return "-5" }, 0},
		"nonsense":       {func(time.Time) string { return "soon" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := time.Now().Add(5 * time.Hour) // the endpoint's is ahead
				e := &endpoint{answer: func(*http.Request, url.Values) *http.Response {
					reply := says(503, clock, map[string]any{})
					reply.Header.Set("Retry-After", c.header(clock))
					return reply
				}}
				settings, _ := withSecret(t, e)
				s := open(t, settings)
				fails(t, s)
				if wait := time.Until(s.State().Retry); wait < c.want || wait > max(c.want, 2*time.Second) {
					t.Errorf("the next request is due in %v, want %v", wait, c.want)
				}
			})
		})
	}
}

func TestReplacedSecretIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{answer: func(_ *http.Request, form url.Values) *http.Response {
			if form.Get("client_secret") != "the new one" {
				return says(401, time.Now(), map[string]any{"error": "invalid_client"})
			}
			return says(200, time.Now(), map[string]any{"access_token": "good", "expires_in": 3600})
		}}
		settings, _ := withSecret(t, e)
		s := open(t, settings)
		for range 8 { // until the pause is at its longest
			fails(t, s)
			time.Sleep(longRefusals * 2)
		}
		before := e.count()
		replace(t, settings.ClientSecretFile, "the new one\n")
		time.Sleep(recheck + time.Second)
		synctest.Wait()
		must(t, s)
		if n := e.count() - before; n != 1 {
			t.Errorf("the new secret took %d requests, want 1", n)
		}
	})
}

// A closed source tells nobody.
func TestEveryKindIsAnOutcomeThatIsCounted(t *testing.T) {
	for k := range Kind(len(kinds)) {
		if outcome := vocabulary.TokenOutcome(k.String()); k != Closed && !slices.Contains(vocabulary.TokenOutcomes(), outcome) {
			t.Errorf("%v is no outcome", k)
		}
	}
}

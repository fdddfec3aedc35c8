package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func hashed(t *testing.T, password string, cost int) []byte {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestWithoutThePasswordThereAreOnlyHealthAndReadiness(t *testing.T) {
	hash := []byte(strings.Replace(string(hashed(t, "right", bcrypt.MinCost)), "$2a$", "$2y$", 1)) // as htpasswd has it
	door := Password{"anna", hash}.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, c := range []struct {
		path, user, password string
		status               int
	}{
		{"/healthz", "", "", 200},
		{"/readyz", "", "", 200},
		{"/", "", "", 401},
		{"/metrics", "", "", 401},
		{"/healthz/", "", "", 401},
		{"/debug/pprof/", "", "", 401},
		{"/", "anna", "wrong", 401},
		{"/", "ben", "right", 401},
		{"/", "anna", "", 401},
		{"/", "anna", "right", 200},
		{"/metrics", "anna", "right", 200},
		{"/", "anna", "wrong", 401}, // also after a right one
		{"/", "ben", "right", 401},
		{"/", "annar", "ight", 401},
		{"/", "anna", "right", 200},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		if c.user != "" {
			r.SetBasicAuth(c.user, c.password)
		}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		if asks := w.Header().Get("WWW-Authenticate") != ""; w.Code != c.status || asks != (c.status == 401) {
			t.Errorf("%s as %s with %q: %d %v, want %d", c.path, c.user, c.password, w.Code, w.Header(), c.status)
		}
	}
}

func TestAHashHasToBeOneThatIsHardToGuess(t *testing.T) {
	for hash, right := range map[string]bool{
		string(hashed(t, "x", leastCost)):                      true,
		string(hashed(t, "x", leastCost-1)):                    false,
		string(hashed(t, "x", leastCost))[:59]:                 false,
		"$2y$31$" + string(hashed(t, "x", bcrypt.MinCost))[7:]: false,
		"{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=":                    false,
		"right":                                                false,
		"":                                                     false,
		"anna:" + string(hashed(t, "x", leastCost)):            false,
	} {
		if err := CheckHash(hash); (err == nil) != right {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

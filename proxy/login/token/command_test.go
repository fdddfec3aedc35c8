package token

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The test binary is also the program that flow "command" runs, and the second
// process of the lock's test.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as-command" {
		os.Exit(asCommand(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func asCommand(args []string) int {
	switch args[0] {
	case "print":
		fmt.Print(args[1])
	case "fail":
		fmt.Fprint(os.Stderr, args[1])
		return 3
	case "flood":
		for {
			if _, err := fmt.Println(strings.Repeat("x", 1000)); err != nil {
				return 1
			}
		}
	case "hang":
		select {
		case <-context.Background().Done():
		case <-time.After(time.Hour):
		}
	case "refresh":
		return refreshAll(args[1:])
	}
	return 0
}

// commandOf are settings whose program is this one.
func commandOf(t *testing.T, args ...string) Settings {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Settings{Account: "office", Flow: Command, Command: append([]string{self, "as-command"}, args...)}
}

func TestCommandPrintsATokenOrJSON(t *testing.T) {
	for _, c := range []struct {
		prints, token string
		life          time.Duration
	}{
		{"a.b-c\n", "a.b-c", unknownLife},
		{`{"access_token":"abc","expires_in":1800}`, "abc", 30 * time.Minute},
		{` {"token_type":"bearer","access_token":"abc","expires_in":"1800","expires_on":1} `, "abc", 30 * time.Minute},
		{`{"access_token":"abc"}`, "abc", unknownLife},
	} {
		began := time.Now()
		got := must(t, open(t, commandOf(t, "print", c.prints)))
		if got.Secret() != c.token || got.Expires().Before(began.Add(c.life)) || got.Expires().After(time.Now().Add(c.life)) {
			t.Errorf("%q gives %q that ends at %v, want %q and a life of %v", c.prints, got.Secret(), got.Expires(), c.token, c.life)
		}
	}
}

func TestCommandThatFailsIsALocalErrorWithoutItsOutput(t *testing.T) {
	const hide = "hunter2-is-secret"
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"exit status", []string{"fail", hide}, "exit status 3"},
		{"nothing", []string{"print", ""}, "prints nothing"},
		{"two words", []string{"print", "the " + hide}, "visible ASCII"},
		{"a control character", []string{"print", hide + "\x01auth=Bearer"}, "visible ASCII"},
		{"JSON cut short", []string{"print", `{"access_token":"` + hide}, "JSON"},
		{"JSON without a token", []string{"print", `{"token":"` + hide + `"}`}, "no access_token"},
		{"another type of token", []string{"print", `{"access_token":"` + hide + `","token_type":"mac"}`}, "not Bearer"},
		{"a date for seconds", []string{"print", `{"access_token":"` + hide + `","expires_in":"tomorrow"}`}, "number of seconds"},
		{"too much", []string{"flood", hide}, "prints more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := fails(t, open(t, commandOf(t, c.args...)))
			if err.Kind != Local || !err.Temporary() || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want a local one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), hide) {
				t.Errorf("the error holds what the program was given or printed: %v", err)
			}
		})
	}
}

func TestCommandThatDoesNotEndIsKilled(t *testing.T) {
	settings := commandOf(t, "hang", "")
	settings.CommandTimeout = 50 * time.Millisecond
	if err := fails(t, open(t, settings)); err.Kind != Local || !strings.Contains(err.Error(), "did not end within 50ms") {
		t.Errorf("the error is %v, want that of a program that did not end", err)
	}
}

func TestCommandThatIsNotThereIsALocalError(t *testing.T) {
	settings := Settings{Account: "office", Flow: Command, Command: []string{"/nonexistent/print-token"}}
	if err := fails(t, open(t, settings)); err.Kind != Local || !strings.Contains(err.Error(), "/nonexistent/print-token") {
		t.Errorf("the error is %v, want a local one with the program's name", err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/login/token"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite/oneof"
)

// logIn obtains a refresh token for an account with the help of a person.
func logIn(args []string, stdout, stderr io.Writer) int {
	f := flags("login", "[-config FILE] ACCOUNT", "Obtains the refresh token of an account whose flow is \"refresh-token\": shows an address "+
		"and a code, waits until somebody has opened the address in a browser and typed the code, and stores the token "+
		"in state_dir. A running smtpshim reads it there within seconds. As root it gives the file to the owner of state_dir.", stderr)
	path := f.String("config", configFile, configHelp)
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	if f.NArg() == 0 {
		fmt.Fprint(stderr, "smtpshim login: which account?\n\n")
		f.Usage()
		return misused
	}
	c, err := config.Read(*path, tlspolicy.SelfSigned)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return failed
	}
	a, err := loginAccount(c, f.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim login:", err)
		return misused
	}
	note := madeByRoot(a.OAuth.StateDir, os.Geteuid())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := token.Login(ctx, *a.OAuth, func(p token.Prompt) error { return prompt(stdout, a, p) }); err != nil {
		e, ok := errors.AsType[*token.Error](err)
		advised := ok && e.Advice != ""
		text := err.Error()
		if advised {
			text = strings.Replace(text, "; "+e.Advice, "", 1) // it is printed on a line of its own
		}
		fmt.Fprintln(stderr, "smtpshim login:", text)
		if advised {
			entry(stderr, 0, "", 0, "What to do: "+e.Advice+".")
		}
		return failed
	}
	fmt.Fprintf(stdout, "The refresh token of account %s is stored in %s.\n%s", a.Name, a.OAuth.StateDir, note)
	return succeeded
}

// madeByRoot returns a note for root before it creates a missing state directory. Files
// in an existing directory belong to its owner; these would belong to root.
func madeByRoot(dir string, uid int) string {
	if _, err := os.Stat(dir); uid != 0 || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return fmt.Sprintf("Root has made that directory. If the service runs as another user, give it to that one: chown -R smtpshim:smtpshim %s\n", dir)
}

// loginAccount returns the account of this name. It must be one that needs a person to
// log in.
func loginAccount(c *config.Config, name string) (*config.Account, error) {
	var names []string
	for _, a := range c.Accounts {
		if a.Name == name && a.OAuth != nil && a.OAuth.Flow == token.RefreshToken {
			return a, nil
		}
		if a.Name == name {
			return nil, fmt.Errorf(`account %q does not use a refresh token; only those with flow = "refresh-token" log in like this`, name)
		}
		names = append(names, a.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no account %q: the configuration has none", name)
	}
	return nil, fmt.Errorf(`there is no account %q; there is %s%s`, name, oneof.And(names), oneof.DidYouMean(name, names))
}

func prompt(w io.Writer, a *config.Account, p token.Prompt) error {
	minutes := time.Until(p.Until).Round(time.Minute)
	_, err := fmt.Fprintf(w, "Open %s in a browser, on any machine,\nlog in as %s, and type this code:\n\n    %s\n\n", p.URL, a.User, p.Code)
	if p.Complete != "" {
		fmt.Fprintf(w, "This address has the code in it: %s\n", p.Complete)
	}
	fmt.Fprintf(w, "Waiting for that, at most %s ...\n", words.Brief(minutes))
	return err
}

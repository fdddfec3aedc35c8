package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"smtpshim/proxy/journal"
)

func ready(args []string, stdout, stderr io.Writer) int {
	f := flags("ready", "[-alive] [-current] [-config FILE] [URL]", "Checks whether a running smtpshim accepts sessions and has servers for them, for a "+
		"balancer or a script. The exit status is 0 if so, and 1 if not or if there is no answer. "+
		"URL is its admin listener, http://HOST:PORT.", stderr)
	alive := f.Bool("alive", false, "check only whether it answers, for a supervisor that restarts it if not")
	current := f.Bool("current", false, "fail also if the configuration in force is older than its\nfile, as after a reload that found a mistake")
	path := f.String("config", "", adminHelp)
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	if *alive && *current {
		fmt.Fprintln(stderr, "smtpshim ready: -alive asks only whether it answers, so it does not go with -current; leave one of them out")
		return misused
	}
	from, err := adminAt(f.Arg(0), *path)
	if err != nil {
		return unasked(f, err)
	}
	page, answer := "readyz", "ready"
	if *alive {
		page, answer = "healthz", "alive"
	}
	note, err := askReady(from.JoinPath(page).String())
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim ready:", err)
		return failed
	}
	if note != "" && !*alive {
		fmt.Fprintln(stderr, "smtpshim ready:", note)
		if *current {
			return failed
		}
	}
	fmt.Fprintln(stdout, answer)
	return succeeded
}

// readyWithin is the longest time for an answer.
const readyWithin = 5 * time.Second

// askReady returns an error that says why the program at url is not ready. If it is
// ready, note is its remark.
func askReady(url string) (note string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", unanswered(r.URL, err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10)) // a part of it is better than nothing
	if answer.StatusCode == http.StatusOK {
		_, note, _ = strings.Cut(strings.TrimSpace(string(said)), "\n") // behind "ready"
		return journal.Printable(strings.ReplaceAll(note, "\n", "; ")), nil
	}
	text := strings.ReplaceAll(strings.TrimSpace(string(said)), "\n", "; ")
	return "", fmt.Errorf("%s says %s: %s", r.URL.Redacted(), answer.Status, journal.Printable(text))
}

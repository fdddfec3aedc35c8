package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

func watch(args []string, stdout, stderr io.Writer) int {
	f := flags("watch", "[-config FILE] [-route NAME] [-healed] [-ended HOW] [URL]", "Prints the dialogues of a running smtpshim, as they happen, each line after the name "+
		"of its session. URL is its admin listener; http://USER:PASSWORD@HOST:PORT if it requires a password.", stderr)
	path := f.String("config", "", adminHelp)
	route := f.String("route", "", "only the route `NAME`")
	healed := f.Bool("healed", false, "only sessions in which a rule acts, from then on")
	outcome := f.String("ended", "", "only sessions that end `HOW`: an outcome, or \"failed\"; shown at the end")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	if *outcome != "" {
		if _, err := oneof.Index(*outcome, vocabulary.OutcomeNames()); err != nil {
			fmt.Fprintln(stderr, "smtpshim watch: -ended:", err)
			return misused
		}
	}
	admin, err := adminAt(f.Arg(0), *path)
	if err != nil {
		return unasked(f, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *route != "" {
		if names := routesAt(ctx, admin); names != nil && !slices.Contains(names, *route) {
			fmt.Fprintf(stderr, "smtpshim watch: %s has no route %q; there is %s%s\n", admin.Redacted(), *route, oneof.And(names), oneof.DidYouMean(*route, names))
			return failed
		}
	}
	go func() {
		select {
		case <-failedOutput(stdout):
			stop()
		case <-ctx.Done():
		}
	}()
	w := watching{url: eventsAt(admin, journal.Filter{Route: *route, Healed: *healed, Outcome: *outcome}), out: demoOutput{stdout, colourful(stdout)}, notes: stderr, pause: time.Second}
	if err := w.run(ctx); err != nil {
		fmt.Fprintln(stderr, "smtpshim watch:", err)
		return failed
	}
	return succeeded
}

// eventsAt returns the URL of the events of an admin listener that pass a filter.
func eventsAt(admin *url.URL, f journal.Filter) string {
	u := admin.JoinPath("events")
	query := url.Values{}
	if f.Route != "" {
		query.Set("route", f.Route)
	}
	if f.Healed {
		query.Set("healed", "1")
	}
	if f.Outcome != "" {
		query.Set("outcome", f.Outcome)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// A watching prints events as they come.
type watching struct {
	url   string
	out   demoOutput
	notes io.Writer
	pause time.Duration // before it connects again
}

// silence is the longest time in which nothing comes, not even a sign of life.
const silence = time.Minute

// run prints events until ctx is done. After the first connection it always connects
// again, whatever happens.
func (w *watching) run(ctx context.Context) error {
	for connected := false; ; {
		err := w.follow(ctx, func() { connected = true })
		switch {
		case ctx.Err() != nil:
			return nil
		case !connected:
			return err
		}
		fmt.Fprintf(w.notes, "smtpshim watch: %v; connecting again\n", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.pause):
		}
	}
}

// follow prints the events of one connection until it ends.
func (w *watching) follow(ctx context.Context, connected func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing came for %s", words.Brief(silence))) })
	defer alive.Stop()
	answer, err := askAdmin(ctx, w.url, "text/event-stream", "events")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	connected()
	fmt.Fprintf(w.notes, "smtpshim watch: watching %s\n", answer.Request.URL.Redacted())
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		alive.Reset(silence)
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue // a sign of life, or the end of an event, which is one line of data
		}
		var n journal.Notice
		if err := json.Unmarshal([]byte(data), &n); err != nil {
			return fmt.Errorf("an event that is none: %w", err)
		}
		w.print(n)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errors.New("smtpshim closed the connection, as it does when it ends")
}

// print prints an event after the name of its session.
func (w *watching) print(n journal.Notice) {
	l := transcript.Line{}
	switch n.Kind {
	case journal.Said:
		l = n.Line()
		l.Rule = journal.Printable(l.Rule)
	case journal.Began:
		l.Text = fmt.Sprintf("route %s, client %s, %s", n.Route, cmp.Or(n.Client, "unknown"), n.At.Local().Format(time.TimeOnly))
	case journal.Ended:
		l.Text = endedAs(n)
	case journal.Lost:
		l.Text = fmt.Sprintf("%s left out: this terminal is slower than the sessions", words.Plural(n.Lost, "event"))
	default:
		return // from a newer smtpshim
	}
	name := n.ID
	if n.Kind == journal.Lost {
		name = "-"
	}
	w.out.line(journal.Printable(name)+"  ", l, ruleColumn())
	if n.Kind == journal.Ended {
		for _, c := range n.Causes {
			w.out.line(journal.Printable(name)+"  ", transcript.Line{Text: told(c)}, ruleColumn())
		}
	}
}

// told returns a cause in one line, in the words of explain.
func told(c journal.Cause) string {
	head := "Means: "
	if c.Guess {
		head = "Perhaps: "
	}
	return head + c.Means + ". Do: " + c.Do
}

// endedAs describes in one line how a session ended.
func endedAs(n journal.Notice) string {
	parts := []string{string(n.Outcome), words.Plural(n.Messages, "message"), fmt.Sprintf("%.1f s", n.Seconds)}
	if n.Server != "" {
		parts = append(parts, "server "+n.Server)
	}
	if n.Refused != nil {
		refused := *n.Refused
		if n.Causes != nil {
			refused.Means, refused.Do = "", "" // they are in the first of the causes
		}
		parts = append(parts, refused.String())
	}
	if n.Err != "" {
		parts = append(parts, strings.TrimPrefix(n.While+": "+n.Err, ": "))
	}
	return strings.Join(parts, ", ")
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/evidence"
	"smtpshim/proxy/journal"
)

func observe(args []string, stdout, stderr io.Writer) int {
	f := flags("observe", "[-config FILE] [-json] [URL]", "Prints what the rules of routes with mode = \"observe\" in a running smtpshim would have done, "+
		"for which clients, and the configuration that heals them, as a diff against FILE, for patch. "+
		"URL is its admin listener, http://USER:PASSWORD@HOST:PORT if it requires a password; default: that of FILE.", stderr)
	path := f.String("config", configFile, "compare with the configuration in `FILE`")
	asJSON := f.Bool("json", false, "print JSON")
	if status, ok := parse(f, args, 1); !ok {
		return status
	}
	from, err := adminAt(f.Arg(0), *path)
	if err != nil {
		return unasked(f, err)
	}
	routes, err := askObserved(from)
	if err == nil && len(routes) == 0 {
		err = fmt.Errorf(`%s observes nothing: write mode = "observe" in a [[route]], and have it read its configuration again`, from.Redacted())
	}
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim observe:", err)
		return failed
	}
	p, err := propose(*path, routes)
	if err != nil {
		fmt.Fprintln(stderr, "smtpshim observe:", err)
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		e.Encode(p)
	} else {
		p.print(stdout)
	}
	if err != nil {
		return failed
	}
	return succeeded
}

// Limits for the answer.
const (
	observedWithin = 10 * time.Second
	observedOctets = 16 << 20
)

// askObserved asks an admin listener for what was observed.
func askObserved(from *url.URL) ([]evidence.Route, error) {
	ctx, cancel := context.WithTimeout(context.Background(), observedWithin)
	defer cancel()
	from = from.JoinPath("observed")
	answer, err := askAdmin(ctx, from.String(), "application/json", "what was observed")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var routes []evidence.Route
	if err := json.NewDecoder(io.LimitReader(answer.Body, observedOctets)).Decode(&routes); err != nil {
		return nil, fmt.Errorf("reading %s: %w", from.Redacted(), err)
	}
	return routes, nil
}

// A proposal is what was observed, and the change of the configuration that heals it.
type proposal struct {
	File   string          `json:"file"`
	Routes []proposedRoute `json:"routes"`
	Diff   string          `json:"diff"` // of File, or of several that it includes; "": there is nothing to change
	files  []string        // the files that Diff changes
}

// A proposedRoute is what was observed on one route.
type proposedRoute struct {
	evidence.Route
	Proposed []string `json:"proposed,omitempty"` // rules; nil: none would have acted, or the file lacks the route
}

// print prints the evidence, in lines that patch ignores, and the diff.
func (p *proposal) print(w io.Writer) {
	for _, r := range p.Routes {
		fmt.Fprintf(w, "# route %s: %s of %s since %s", journal.Printable(r.Name), words.Plural(r.Sessions, "session"), atLeast(r.Clients, "client"),
			r.Since.Local().Format("2006-01-02 15:04"))
		if r.Failed > 0 {
			fmt.Fprintf(w, ", of which %d failed", r.Failed)
		}
		fmt.Fprintln(w)
		for _, rule := range r.Rules {
			verb := "need"
			if rule.Clients == 1 {
				verb = "needs"
			}
			fmt.Fprintf(w, "#   %s of %s %s %s: %s\n", countOf(rule.Clients), atLeast(r.Clients, "client"), verb, journal.Printable(rule.Name), named(rule))
			if rule.Line != "" {
				fmt.Fprintf(w, "#       %s\n", journal.Printable(rule.Line))
			}
		}
		if len(r.Rules) == 0 {
			fmt.Fprintln(w, "#   no rule would have changed a line")
		}
	}
	if p.Diff == "" {
		return
	}
	patch := journal.Printable(p.File)
	if len(p.files) > 1 { // the diff names them
		patch = "-p0"
		if filepath.IsAbs(p.File) {
			patch = "-d / -p1"
		}
	}
	fmt.Fprintf(w, "# to put it in force: smtpshim observe ... | patch %s, and have smtpshim read it again\n", patch)
	fmt.Fprint(w, p.Diff)
}

// named returns the clients of a rule, as far as they are known.
func named(rule evidence.Rule) string {
	list := make([]string, 0, len(rule.Named)+1)
	for _, name := range rule.Named {
		list = append(list, journal.Printable(name))
	}
	if rule.Clients > len(rule.Named) {
		list = append(list, "...")
	}
	return cmp.Or(strings.Join(list, ", "), "unknown")
}

// countOf formats a number of clients, which is at most evidence.MostClients.
func countOf(n int) string {
	if n >= evidence.MostClients {
		return fmt.Sprintf("%d or more", n)
	}
	return fmt.Sprint(n)
}

func atLeast(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return countOf(n) + " " + what + "s"
}

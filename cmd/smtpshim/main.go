// Servers and authorities whose certificates have a negative serial number are taken,
// as OpenSSL takes them: RFC 5280, 4.1.2.2 asks for it. The number decides nothing.

//go:debug x509negativeserial=1

// Smtpshim stands between a legacy mail server and a modern one, passes every
// line of their dialogue on, and changes only the lines that one of the two
// cannot live with.
//
// This package is the command: it reads flags and the configuration and puts
// the other packages together. The exit status is 0, 1 if something failed, or
// 2 if the command was used wrongly.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

// A command is one word of the command line, and what it does.
type command struct {
	name, args, does string
	run              func(args []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"run", "[-config FILE]", "run the proxy", runProxy},
		{"check", "[-config FILE] [-live]", "what each route will do, or what is wrong", check},
		{"rules", "[-json] [NAME | TEXT]", "what each rule heals, and who says so", rules},
		{"explain", "TEXT... | -", "what a bounce or a line of a log means", explain},
		{"play", "[-rules LIST] FILE...", "what rules would do with recorded dialogues", play},
		{"probe", "[-json] HOST[:PORT]", "what a server gets wrong, and what heals it", probeServer},
		{"demo", "[-listen ADDR] [NAME]", "see it work, with simulated legacy servers", demo},
		{"observe", "[-config FILE] [URL]", "what rules would heal that only observe", observe},
		{"login", "[-config FILE] ACCOUNT", "let an account log in, with a browser", logIn},
		{"watch", "[-route NAME] [-healed] [URL]", "dialogues, live, of a smtpshim that runs", watch},
		{"ready", "[-alive] [URL]", "ask one that runs whether it is ready", ready},
		{"version", "", "print the version", version},
	}
}

// run is the program, less the process around it.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return misused
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
		names = append(names, c.name)
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage(stdout)
		return succeeded
	}
	fmt.Fprintf(stderr, "smtpshim: there is no command %q%s\n", args[0], didYouMean(args[0], names))
	fmt.Fprintln(stderr, `run "smtpshim help" to see what there is`)
	return misused
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Smtpshim stands between a legacy mail server and a modern one and changes only\n"+
		"the lines that one of the two cannot live with.\n\nusage: smtpshim COMMAND\n\n")
	for _, c := range commands() {
		entry(w, 2, fmt.Sprintf("%-8s%s", c.name, c.args), 34, c.does)
	}
	fmt.Fprint(w, "\nFILE is smtpshim.toml unless -config names another. \"smtpshim COMMAND -h\" tells\n"+
		"more. The exit status is 0, 1 if something failed, 2 if used wrongly.\n\n"+
		"Example: smtpshim check -config /etc/smtpshim/smtpshim.toml\n")
}

// flags returns the flags of a command, to be defined and then parsed.
func flags(name, args, more string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "%s\n\n", strings.TrimSpace("usage: smtpshim "+name+" "+args))
		entry(stderr, 0, "", 0, more)
		fmt.Fprintln(stderr)
		f.PrintDefaults()
	}
	return f
}

// parse reads args, of which at most operands may be no flags. If the command
// is not to go on, it returns false and the exit status.
func parse(f *flag.FlagSet, args []string, operands int) (status int, ok bool) {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded, false
	case err != nil:
		return misused, false
	case f.NArg() > operands:
		fmt.Fprintf(f.Output(), "smtpshim %s: %q is one word too many\n\n", f.Name(), f.Arg(operands))
		f.Usage()
		return misused, false
	}
	return succeeded, true
}

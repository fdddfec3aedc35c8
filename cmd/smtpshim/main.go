// Certificates of servers and authorities with a negative serial number are accepted, as
// by OpenSSL. RFC 5280, 4.1.2.2 recommends that. The number does not affect verification.

//go:debug x509negativeserial=1

// Smtpshim is a transparent SMTP proxy between a legacy mail server and a modern one. It
// passes on every line of their dialogue, and changes only lines that one of the two
// cannot handle.
//
// This package is the command: it reads flags and the configuration, and combines the
// other packages. The exit status is 0; 1 if something failed; or 2 for wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"smtpshim/rewrite/oneof"
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

// A command is a word of the command line and what it does.
type command struct {
	name, args, does string
	run              func(args []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"run", "[-config FILE]", "run the proxy", runProxy},
		{"check", "[-config FILE] [-live] [-strict]", "what each route will do, or what is wrong", check},
		{"rules", "[-json] [NAME | TEXT]", "what each rule heals, and its source", rules},
		{"explain", "TEXT... | -", "what a bounce or a line of a log means", explain},
		{"play", "[-rules LIST] FILE...", "what rules would do with recorded dialogues", play},
		{"probe", "[-json] HOST[:PORT]", "what a server gets wrong, and what heals it", probeServer},
		{"demo", "[-listen ADDR] [NAME]", "see it work, with simulated legacy servers", demo},
		{"observe", "[-config FILE] [URL]", "what observing rules would heal", observe},
		{"login", "[-config FILE] ACCOUNT", "log an account in, with a browser", logIn},
		{"watch", "[-route NAME] [-healed] [URL]", "live dialogues of a running smtpshim", watch},
		{"ready", "[-alive] [URL]", "whether a running smtpshim is ready", ready},
		{"version", "", "print the version", version},
	}
}

// run is the program, without the process around it.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return misused
	}
	out := newOutput(stdout)
	return out.status(args[0], dispatch(args, out, stderr), stderr)
}

// dispatch runs the command that args[0] names.
func dispatch(args []string, stdout, stderr io.Writer) int {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	name := strings.TrimLeft(args[0], "-")
	switch dashes := name != args[0]; {
	case name == "help" && len(args) == 1, dashes && name == "h":
		usage(stdout)
		return succeeded
	case name == "help" && slices.Contains(names, args[1]):
		return dispatch([]string{args[1], "-h"}, stdout, stdout)
	case name == "help":
		return noCommand(args[1], names, stderr)
	case dashes && (name == "version" || name == "v" || name == "V"):
		return dispatch(append([]string{"version"}, args[1:]...), stdout, stderr)
	}
	if i := slices.Index(names, args[0]); i >= 0 {
		if args[0] != "run" { // its log quotes what is not text
			stderr = escaper{stderr}
		}
		return commands()[i].run(args[1:], stdout, stderr)
	}
	return noCommand(args[0], names, stderr)
}

func noCommand(name string, names []string, stderr io.Writer) int {
	fmt.Fprintf(stderr, "smtpshim: there is no command %q%s\n", name, oneof.DidYouMean(name, names))
	fmt.Fprintln(stderr, `run "smtpshim help" to see what there is`)
	return misused
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Smtpshim stands between a legacy mail server and a modern one and changes only\n"+
		"the lines that one of the two cannot live with.\n\nusage: smtpshim COMMAND\n\n")
	for _, c := range commands() {
		entry(w, 2, fmt.Sprintf("%-8s%s", c.name, c.args), 34, c.does)
	}
	fmt.Fprint(w, "\nFILE is smtpshim.toml unless -config names another. \"smtpshim help COMMAND\"\n"+
		"tells more. The exit status is 0, 1 if something failed, 2 if used wrongly.\n\n"+
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

// parseFlags is f.Parse, but prints nothing, and says of an unknown flag which was
// probably meant.
func parseFlags(f *flag.FlagSet, args []string) error {
	usage, out := f.Usage, f.Output()
	defer func() { f.Usage = usage; f.SetOutput(out) }()
	f.Usage = func() {}
	f.SetOutput(io.Discard)
	err := f.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: ")
	if !unknown {
		return err
	}
	var names []string
	f.VisitAll(func(known *flag.Flag) { names = append(names, "-"+known.Name) })
	return fmt.Errorf("there is no flag %s%s", name, oneof.DidYouMean(name, names))
}

// anyText tells [parse] that all words after the flags are text, and may begin with "-".
const anyText = -1

// parse parses args. At most operands of them may be operands, and flags may follow
// these. If the command must not continue, ok is false and status is the exit status.
func parse(f *flag.FlagSet, args []string, operands int) (status int, ok bool) {
	var words []string
	for {
		switch err := parseFlags(f, args); {
		case errors.Is(err, flag.ErrHelp):
			f.Usage()
			return succeeded, false
		case err != nil:
			fmt.Fprintf(f.Output(), "smtpshim %s: %v\n\n", f.Name(), err)
			f.Usage()
			return misused, false
		}
		rest := f.Args()
		ended := len(args) > len(rest) && args[len(args)-len(rest)-1] == "--"
		if operands == anyText || ended || len(rest) == 0 {
			words = append(words, rest...)
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	f.Parse(append([]string{"--"}, words...)) // so that f.Args returns them
	if operands != anyText && f.NArg() > operands {
		fmt.Fprintf(f.Output(), "smtpshim %s: %q is one word too many\n\n", f.Name(), f.Arg(operands))
		f.Usage()
		return misused, false
	}
	return succeeded, true
}

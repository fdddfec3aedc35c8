package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/oneof"
)

func play(args []string, stdout, stderr io.Writer) int {
	return playFrom(args, os.Stdin, stdout, stderr)
}

// playFrom is play with a given standard input.
func playFrom(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	f, o := playFlags(stderr)
	if status, ok := parse(f, args, len(args)); !ok {
		return status
	}
	if why := o.misused(f); why != "" {
		fmt.Fprintf(stderr, "smtpshim play: %s\n\n", why)
		f.Usage()
		return misused
	}
	with, err := o.under(o.rules, o.config, o.route)
	var against *under
	if err == nil && (o.againstRules != "" || o.against != "") {
		against, err = o.under(o.againstRules, o.against, o.route)
	}
	if err != nil {
		fmt.Fprintf(stderr, "smtpshim play: %v\n", err)
		return failed
	}
	status := succeeded
	w := playWriter{out: stdout, dialogue: o.dialogue, explains: newExplainer()}
	for _, name := range f.Args() {
		p := newPlayed(name, with, against)
		if !o.json {
			p.each = w.each
		}
		err := p.read(stdin)
		if err != nil {
			fmt.Fprintf(stderr, "smtpshim play: %v\n", err)
			status = failed
			if p.Dialogues == 0 {
				continue
			}
		}
		p.explain(w.explains)
		if p.differs() || against == nil && len(p.Unhealed) > 0 {
			status = failed
		}
		if o.json {
			if err := json.NewEncoder(stdout).Encode(p); err != nil {
				fmt.Fprintf(stderr, "smtpshim play: %v\n", err)
				return failed
			}
			continue
		}
		w.file(p)
	}
	return status
}

// playOptions are the flags of play.
type playOptions struct {
	rules, config, route  string
	against, againstRules string
	dialogue, json        bool
}

func playFlags(stderr io.Writer) (*flag.FlagSet, *playOptions) {
	o := &playOptions{}
	f := flags("play", "[-rules LIST] [-config FILE [-route NAME]] FILE...",
		"Plays the SMTP dialogues of each FILE against rules, without a network, and prints which rules would act, and which refusals would stay. "+
			"FILE is a recording or a transcript of smtpshim, what swaks, curl -v, msmtp -d, sendmail -v, Python's smtplib or JavaMail (mail.debug) printed, a log of Postfix (debug_peer_list), "+
			"Exim (-v, -d), Exchange (protocol log) or IIS (W3C), or a capture (pcap, pcapng) of sessions in clear; or - for standard input. "+
			"If the server would get something that it did not get then, its reply is not known, and the dialogue ends. "+
			"Without -rules and -config, a recording is played under its own rules, and others under \"standard\". "+
			"The exit status is 1 if a refusal stays, or with -against or -against-rules if there is a difference.", stderr)
	f.StringVar(&o.rules, "rules", "", "the rules and sets of `LIST`, with commas between, as standard,-mend-505")
	f.StringVar(&o.config, "config", "", "the rules, options and settings of a route of the\nconfiguration in `FILE`")
	f.StringVar(&o.route, "route", "", "the route `NAME`, if a configuration has several")
	f.StringVar(&o.against, "against", "", "compare with a route of the configuration in `FILE`")
	f.StringVar(&o.againstRules, "against-rules", "", "compare with the rules and sets of `LIST`")
	f.BoolVar(&o.dialogue, "dialogue", false, "also print each dialogue as it would be")
	f.BoolVar(&o.json, "json", false, "print the findings as JSON, a line for each FILE")
	return f, o
}

// misused returns what is wrong with the flags; "" if nothing is.
func (o *playOptions) misused(f *flag.FlagSet) string {
	switch {
	case f.NArg() == 0:
		return "FILE is missing: a recording, a log or a capture, or - to read standard input"
	case o.rules != "" && o.config != "":
		return "-rules and -config both choose the rules; leave one out"
	case o.against != "" && o.againstRules != "":
		return "-against and -against-rules both choose what to compare with; leave one out"
	case o.route != "" && o.config == "" && o.against == "":
		return "-route chooses a route of a configuration; -config or -against is missing"
	case o.dialogue && o.json:
		return "-dialogue is for people, and -json for programs; leave one out"
	}
	return ""
}

// under returns what the dialogues are played under: these rules, or a route of a
// configuration, or, if both are "", each dialogue's own.
func (o *playOptions) under(rules, file, route string) (*under, error) {
	switch {
	case file != "":
		return underRoute(file, route)
	case rules != "":
		u := &under{name: "rules " + rules, rules: strings.FieldsFunc(rules, func(r rune) bool { return r == ',' || r == ' ' })}
		if _, errs := heal.Compile(u.rules, nil); errs != nil {
			return nil, fmt.Errorf("the rules %s: %w%s", rules, errs[0], hintOf(errs[0]))
		}
		return u, nil
	}
	return &under{name: "its own rules", own: true, rules: []string{"standard"}}, nil
}

// underPresent returns what a route does. Rules that it only observes act.
func underPresent(name string, r *config.Route) *under {
	if r.Observed == nil {
		setup := r.Setup()
		return &under{name: name, rules: setup.Rules, options: setup.Options, settings: setup.Settings, route: true}
	}
	acting, inner := *r, *r.Route
	acting.Route, inner.Rules, inner.Observed = &inner, r.Observed, nil
	return underPresent(name+", if the rules acted that it observes", &acting)
}

// underRoute reads a route of a configuration.
func underRoute(file, name string) (*under, error) {
	temp, err := os.MkdirTemp("", "smtpshim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	c, err := config.Read(file, rehearse(temp))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range c.Routes {
		names = append(names, r.Name)
		if r.Name == name || name == "" && len(c.Routes) == 1 {
			return underPresent(journal.Printable(file)+", route "+r.Name, r), nil
		}
	}
	if name == "" {
		return nil, fmt.Errorf("%s has the routes %s; choose one with -route", file, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("%s has no route %q; there is %s%s", file, name, oneof.And(names), oneof.DidYouMean(name, names))
}

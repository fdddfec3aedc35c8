package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// A Server is a server to examine, and how far that may go.
type Server struct {
	Dial func(context.Context) (net.Conn, error)
	Host string // the server's name, if it is known
	Name string // ours, in EHLO; a domain or an address literal

	// Mail is an address to say MAIL with, each time with RSET behind; "": MAIL and RSET
	// are not said.
	Mail string
	// To is an address to send one message to, from Mail; "": none is sent.
	To string

	Pause    time.Duration // between two connections
	Wait     time.Duration // for the greeting and for each reply; 0: 30 seconds
	Rest     time.Duration // for the next line of a reply that has begun; 0: 3 seconds
	Linger   time.Duration // for lines behind the last one of a greeting or of a reply to a hello; 0: 300 ms
	Progress func(name string, done, all int)
}

// maxConnections is how many connections an examination makes at most.
const maxConnections = 16

// maxCommands is how many commands are said in a session: Exim ends one behind ten that
// send no mail (smtp_accept_max_nonmail), of which RSET is one and MAIL is none.
const maxCommands = 14

// A Report is what an examination has found.
type Report struct {
	Findings    []Finding `json:"findings"`
	Untried     []Untried `json:"untried"`
	Products    []string  `json:"products,omitempty"` // whose set of rules knows the server by its signs
	TLS         string    `json:"tls,omitempty"`      // the version and suite that STARTTLS led to
	Connections int       `json:"connections"`

	// Missed is why no session could be had for some examination. What is not found may be
	// there all the same. It is "" if there was one for all.
	Missed string `json:"missed,omitempty"`
}

// Untried is what was not examined, and why.
type Untried struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Count is how many findings of a kind there are.
func (r Report) Count(k Kind) (n int) {
	for _, f := range r.Findings {
		if f.Kind == k {
			n++
		}
	}
	return n
}

// Examine holds the sessions. It says QUIT at the end of each. The error says why the
// server could not be examined, and is that of ctx if that has ended.
func (s Server) Examine(ctx context.Context) (Report, error) {
	s = s.withDefaults()
	v := &visit{Server: s, ctx: ctx, offer: offer{}}
	defer v.hangUp()
	list := Examinations()
	for i, e := range list {
		if s.Progress != nil {
			s.Progress(e.Name, i, len(list))
		}
		why := v.unmet(e)
		if why == "" {
			v.untried = ""
			e.look(v)
			why = v.untried
		}
		if why != "" {
			v.report.Untried = append(v.report.Untried, Untried{e.Name + ": " + e.Says, why})
		}
		if err := ctx.Err(); err != nil {
			return v.report, fmt.Errorf("examining %s: %w", e.Name, err)
		}
		if v.failed != nil && v.report.Connections == 0 {
			return v.report, v.failed
		}
	}
	v.report.Products = v.products()
	v.report.Untried = append(v.report.Untried, beyond()...)
	return v.report, nil
}

func (s Server) withDefaults() Server {
	for _, d := range []struct {
		value  *time.Duration
		normal time.Duration
	}{{&s.Wait, 30 * time.Second}, {&s.Rest, 3 * time.Second}, {&s.Linger, 300 * time.Millisecond}} {
		if *d.value == 0 {
			*d.value = d.normal
		}
	}
	return s
}

// A visit is an examination under way.
type visit struct {
	Server
	ctx    context.Context
	talk   *conversation // nil: there is none
	report Report

	greeted  exchange // the first greeting
	verb     string   // the hello that the server takes; "": none is known
	retry    bool     // it takes the second hello
	hello    exchange // the first hello that it took
	offer    offer    // of that hello
	again    bool     // it takes a second hello in a session
	help     reply    // to HELP
	refusing string   // why it takes no MAIL from us; "": it takes one
	closed   bool     // its greeting was a refusal

	untried string // why the examination under way could not look
	failed  error  // why no connection could be made
}

// unmet says what an examination lacks; "": nothing.
func (v *visit) unmet(e Examination) string {
	switch {
	case v.failed != nil:
		return v.failed.Error()
	case v.closed:
		return "the server does not take sessions from here"
	case e.Needs == NeedsMail && v.Mail == "":
		return "MAIL is said with -mail ADDRESS only"
	case e.Needs == NeedsMessage && v.To == "":
		return "a message is sent with -message only"
	case e.Needs != NeedsNothing && v.refusing != "":
		return v.refusing
	case e.session && v.verb == "":
		return "the server takes no EHLO and no HELO"
	}
	return ""
}

// find notes a finding, the first of its name.
func (v *visit) find(f Finding) {
	for _, known := range v.report.Findings {
		if known.Name == f.Name {
			return
		}
	}
	full, err := f.Catalogued()
	if err != nil {
		panic(err) // a test sees to it that each entry is there
	}
	v.report.Findings = append(v.report.Findings, full)
}

// fresh connects and hears the greeting. Where that fails it says why in untried.
func (v *visit) fresh() bool {
	v.hangUp()
	if v.report.Connections == maxConnections {
		v.miss(fmt.Sprintf("the server has hung up too often: %d connections are enough", maxConnections))
		return false
	}
	if v.report.Connections > 0 && !v.pause() {
		return false
	}
	conn, err := v.Dial(v.ctx)
	if err != nil {
		v.failed = fmt.Errorf("connecting: %w", err)
		v.miss(v.failed.Error())
		return false
	}
	v.report.Connections++
	v.talk = converse(conn, times{greeting: v.Wait, reply: v.Wait, rest: v.Rest, linger: v.Linger})
	v.talk.end = context.AfterFunc(v.ctx, func() { conn.Close() })
	return true
}

// miss notes why there is no session for the examination under way.
func (v *visit) miss(why string) {
	v.untried = why
	v.report.Missed = cmp.Or(v.report.Missed, why)
}

func (v *visit) pause() bool {
	t := time.NewTimer(v.Pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-v.ctx.Done():
		v.untried = v.ctx.Err().Error()
		return false
	}
}

// hangUp ends the session under way, if there is one.
func (v *visit) hangUp() {
	if v.talk != nil {
		v.talk.close()
		v.talk = nil
	}
}

// say says a command, and looks at the form of the reply.
func (v *visit) say(command string) exchange {
	if late, ok := v.talk.unasked(); ok {
		v.lookAtUnasked(late)
	}
	e := v.talk.say(command)
	v.lookAtForm(e)
	return e
}

// greetedAnew makes a connection whose greeting is a yes, before any hello.
func (v *visit) greetedAnew() bool {
	if !v.fresh() {
		return false
	}
	g := v.talk.greeting()
	v.lookAtForm(g)
	if !g.ok() {
		v.miss("the server did not greet")
		v.hangUp()
		return false
	}
	return true
}

// session makes sure of a connection on which a hello was accepted, in clear.
func (v *visit) session() bool {
	if v.talk != nil && v.talk.hello && !v.talk.secure && v.talk.said < maxCommands && !v.talk.gone(time.Millisecond) {
		return true
	}
	if !v.greetedAnew() {
		return false
	}
	return v.sayHello()
}

// sayHello says the hello that the server is known to take.
func (v *visit) sayHello() bool {
	e := v.say(v.verb + " " + v.Name)
	if v.retry && !e.ok() && e.lost == nil {
		e = v.say(v.verb + " " + v.Name)
	}
	if v.talk.hello = e.ok(); !v.talk.hello {
		v.miss("the server has not taken another hello")
		v.hangUp()
	}
	return v.talk != nil
}

// hungUp reports whether the server has ended the connection under way.
func (v *visit) hungUp() bool {
	return v.talk.lost != nil && !errors.Is(v.talk.lost, context.Canceled)
}

// Has reports whether there is a finding of this name.
func (r Report) Has(name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name })
}

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

// A Server is a server to examine, and how far the examination may go.
type Server struct {
	Dial func(context.Context) (net.Conn, error)
	Host string // the server's host name, if it is known
	Name string // our name in EHLO, a domain or an address literal

	// Mail is the sender address for MAIL; "": neither MAIL nor a message is sent.
	// After each MAIL that the server accepts comes RSET, unless a message follows.
	Mail string
	// To is the recipient of the one message that is sent, with the sender Mail;
	// "": no message is sent.
	To string

	Pause time.Duration // wait between two connections
	Wait  time.Duration // longest wait for the greeting and each reply; 0: 30 seconds
	Rest  time.Duration // longest wait for the next line of a reply; 0: 3 seconds
	// Linger is the wait for more lines after what looks like the last line of a
	// greeting or of a reply to EHLO or HELO; 0: 300 ms.
	Linger   time.Duration
	Progress func(name string, done, all int)
}

// maxConnections is the largest number of connections for an examination.
const maxConnections = 16

// maxCommands is the largest number of commands in a session. Exim ends a session after
// ten commands that are not for mail (smtp_accept_max_nonmail); these include RSET but
// not MAIL.
const maxCommands = 14

// A Report is the result of Server.Examine.
type Report struct {
	Findings []Finding `json:"findings"`
	Untried  []Untried `json:"untried"`
	// Products are the products that the server was recognised as, by the names of
	// their sets of rules.
	Products []string `json:"products,omitempty"`
	// TLS is the version and the cipher suite that a handshake after STARTTLS has
	// led to, such as "TLS 1.3, ..."; "": there was no handshake, or it failed.
	TLS         string `json:"tls,omitempty"`
	Connections int    `json:"connections"`

	// Missed is the first reason why an examination got no session, such as a
	// connection that failed; "": there is none. If Missed is not "", findings may
	// be missing. If the server accepts no hello, Missed may be "" all the same: a
	// finding then says so.
	Missed string `json:"missed,omitempty"`
}

// An Untried is something that was not examined, and the reason.
type Untried struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Count returns the number of findings of the kind k in r.
func (r Report) Count(k Kind) (n int) {
	for _, f := range r.Findings {
		if f.Kind == k {
			n++
		}
	}
	return n
}

// Examine makes all examinations that s allows, ends each session with QUIT, and
// returns what was found. If the first connection fails, Examine returns its error. If
// ctx is done, Examine returns what was found so far, and an error that wraps
// ctx.Err().
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

// A visit is an examination in progress.
type visit struct {
	Server
	ctx    context.Context
	talk   *conversation // nil: there is no connection
	report Report

	greeted  exchange // the first greeting
	verb     string   // the hello that the server accepts; "": not known
	retry    bool     // the server accepts a hello when it is repeated
	hello    exchange // the first accepted hello
	offer    offer    // the offer in its reply
	again    bool     // the server accepts a second hello in a session
	help     reply    // the reply to HELP
	refusing string   // why the server refuses our MAIL; "": it does not
	closed   bool     // the greeting was a refusal

	untried string // why the present examination could not be made
	failed  error  // why no connection could be made
}

// unmet returns what an examination lacks; "": nothing.
func (v *visit) unmet(e Examination) string {
	switch {
	case v.failed != nil:
		return v.failed.Error()
	case v.closed:
		return "the server does not accept sessions from this machine"
	case (e.Needs == NeedsMail || e.Needs == NeedsMessage) && v.Mail == "":
		return "MAIL is sent with -mail ADDRESS only"
	case e.Needs == NeedsMessage && v.To == "":
		return "a message is sent with -message only"
	case e.Needs != NeedsNothing && v.refusing != "":
		return v.refusing
	case e.session && v.verb == "":
		return "the server accepts neither EHLO nor HELO"
	}
	return ""
}

// find records a finding, unless there is one of the same name.
func (v *visit) find(f Finding) {
	for _, known := range v.report.Findings {
		if known.Name == f.Name {
			return
		}
	}
	full, err := f.Catalogued()
	if err != nil {
		panic(err) // a test checks that each entry exists
	}
	v.report.Findings = append(v.report.Findings, full)
}

// fresh makes a connection. If that fails, it records the reason in untried.
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

// miss records why there is no session for the present examination.
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

// hangUp ends the present session, if there is one.
func (v *visit) hangUp() {
	if v.talk != nil {
		v.talk.close()
		v.talk = nil
	}
}

// say sends a command and checks the form of the reply.
func (v *visit) say(command string) exchange {
	if late, ok := v.talk.unasked(); ok {
		v.lookAtUnasked(late)
	}
	e := v.talk.say(command)
	v.lookAtForm(e)
	return e
}

// greetedAnew makes a connection with a positive greeting, before any hello.
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

// session provides a connection in clear on which a hello was accepted.
func (v *visit) session() bool {
	if v.talk != nil && v.talk.hello && !v.talk.secure && v.talk.said < maxCommands && !v.talk.gone(time.Millisecond) {
		return true
	}
	if !v.greetedAnew() {
		return false
	}
	return v.sayHello()
}

// sayHello sends the hello that the server is known to accept.
func (v *visit) sayHello() bool {
	e := v.say(v.verb + " " + v.Name)
	if v.retry && !e.ok() && e.lost == nil {
		e = v.say(v.verb + " " + v.Name)
	}
	if v.talk.hello = e.ok(); !v.talk.hello {
		v.miss("the server has not accepted another EHLO or HELO")
		v.hangUp()
	}
	return v.talk != nil
}

// hungUp reports whether the server has ended the present connection.
func (v *visit) hungUp() bool {
	return v.talk.lost != nil && !errors.Is(v.talk.lost, context.Canceled)
}

// Has reports whether r has a finding called name.
func (r Report) Has(name string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == name })
}

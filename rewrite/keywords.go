package rewrite

import (
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// The causes of changes that the engine makes without a rule, as traces name them.
const (
	serverTLSCause  = string(vocabulary.CauseServerTLS)
	clientTLSCause  = string(vocabulary.CauseClientTLS)
	xclientCause    = string(vocabulary.CauseXCLIENT)
	loginCause      = string(vocabulary.CauseLogin)
	spentCause      = string(vocabulary.CauseFreshConnection)
	notCarriedCause = string(vocabulary.CauseNotCarried)
	sizeCause       = string(vocabulary.CauseMessageSize)
	limitsCause     = string(vocabulary.CauseLimits)
)

// account adapts an EHLO reply to the session, after the rules. It removes what the
// server offers and the proxy cannot carry, lowers what the proxy limits, and adds what
// the proxy offers itself.
func (d *Dialogue) account(r *Reply, c *causes) {
	e := Extensions{reply: r}
	k := e.known()
	if k&offersUncarried != 0 {
		d.step(e, c, notCarriedCause, d.dropUncarried)
	}
	if inClear := d.endsTLS() && !d.seen.tls; inClear && k&offersSTARTTLS == 0 || !inClear && k&offersSTARTTLS != 0 && !d.passesTLS() {
		d.step(e, c, clientTLSCause, d.accountSTARTTLS)
	}
	if k&offersLogin != 0 && d.endsLegs() {
		d.guard(e, c, vocabulary.SafeguardChannelBinding, func(e Extensions) bool { return dropMechanisms(e, bindsTLS) })
		d.guard(e, c, vocabulary.SafeguardExternal, func(e Extensions) bool { return dropMechanisms(e, isExternal) })
	}
	if k&offersREQUIRETLS != 0 && !d.keepsTLS() {
		d.guard(e, c, vocabulary.SafeguardRequireTLS, func(e Extensions) bool { e.Drop("REQUIRETLS"); return true })
	}
	if k&offersSIZE != 0 && d.policy.Limits.MessageSize > 0 {
		d.step(e, c, sizeCause, d.lowerSIZE)
	}
	if k&offersLIMITS != 0 {
		d.step(e, c, limitsCause, d.lowerLIMITS)
	}
	if d.obeysXCLIENT() {
		d.step(e, c, xclientCause, func(e Extensions) { e.Add("XCLIENT " + strings.Join(attributeNames[:], " ")) })
	}
}

// step makes one change of account, and records its cause.
func (d *Dialogue) step(e Extensions, c *causes, cause string, do func(Extensions)) {
	if d.tracer == nil {
		do(e)
		return
	}
	before := e.reply.clone()
	do(e)
	c.changed(true, before, *e.reply, cause)
}

// guard is step for a safeguard, which is counted if do reports a change.
func (d *Dialogue) guard(e Extensions, c *causes, s vocabulary.Safeguard, do func(Extensions) bool) {
	d.step(e, c, string(s), func(e Extensions) {
		if do(e) {
			d.listener.Applied(string(s))
		}
	})
}

// dropUncarried removes the keywords of commands that swap the roles, make the server
// trust us, or carry a payload whose length we do not know.
func (d *Dialogue) dropUncarried(e Extensions) {
	e.DropFunc(func(name, _ string) bool {
		v := verbNamed([]byte(name))
		return uncarried.Has(v) || v == VerbAnonymousTLS && !d.passesTLS()
	})
}

// accountSTARTTLS removes STARTTLS if it is offered, and otherwise adds it, before
// the other keywords.
func (d *Dialogue) accountSTARTTLS(e Extensions) {
	if e.Has("STARTTLS") {
		e.Drop("STARTTLS")
	} else {
		e.Add("STARTTLS")
		e.Place("STARTTLS", 0) // github.com/zetacomponents/Mail/issues/52: some look for "250-STARTTLS"
	}
}

// keepsTLS reports whether REQUIRETLS can be kept: both connections are encrypted, and
// the server's certificate is verified (RFC 8689, 2 and 4.1).
func (d *Dialogue) keepsTLS() bool { return d.seen.tls && d.server.tls && d.policy.VerifiesServer }

// lowerSIZE lowers the parameter of SIZE to our limit. SIZE without a number, or with
// 0, declares no limit (RFC 1870, 4).
func (d *Dialogue) lowerSIZE(e Extensions) {
	limit := d.policy.Limits.MessageSize
	n, err := strconv.ParseInt(strings.Join(e.Params("SIZE"), " "), 10, 64)
	if err != nil || n <= 0 || n > limit {
		e.Set("SIZE", strconv.FormatInt(limit, 10))
	}
}

// lowerLIMITS lowers the numbers of messages and recipients in LIMITS to our limits
// (RFC 9422, 4).
func (d *Dialogue) lowerLIMITS(e Extensions) {
	ours := map[string]int{"MAILMAX": d.policy.Limits.Messages, "RCPTMAX": d.policy.Limits.Recipients}
	params, lowered := e.Params("LIMITS"), false
	for i, p := range params {
		name, value, _ := strings.Cut(p, "=")
		limit := ours[strings.ToUpper(name)]
		if n, err := strconv.Atoi(value); limit > 0 && (err != nil || n > limit) {
			params[i], lowered = name+"="+strconv.Itoa(limit), true
		}
	}
	if lowered {
		e.Set("LIMITS", strings.Join(params, " "))
	}
}

// causes maps a changed line of a reply to the name of what changed it. The key is "-"
// and a removed line, or "+" and an added line.
type causes map[string]string

// changed records what one rule, or one step of account, has changed in a reply.
func (c *causes) changed(wanted bool, before, after Reply, name string) {
	if !wanted {
		return
	}
	if *c == nil {
		*c = causes{}
	}
	other := before.Code != after.Code
	for _, line := range before.Lines {
		if !other && slices.Contains(after.Lines, line) {
			continue
		}
		if _, came := (*c)["+"+line]; came {
			delete(*c, "+"+line)
		} else if _, went := (*c)["-"+line]; !went {
			(*c)["-"+line] = name
		}
	}
	for _, line := range after.Lines {
		if other || !slices.Contains(before.Lines, line) {
			(*c)["+"+line] = name
		}
	}
}

// Causes name the rules and settings that changed a command or a reply, or made or
// dropped it.
type Causes struct {
	// Rules has the names of the rules that changed it, joined with commas, or the one
	// other cause, such as "login", for which all of it was made, changed or dropped. It
	// is "" if there is neither. What the engine itself changes in single lines of an
	// EHLO reply, only Of tells.
	Rules string
	lines causes
}

// Of returns the name of the rule or setting that changed one line of a reply: it added
// line if added is true, and removed it otherwise. line includes the code of the reply.
// If no cause is known for line alone, Of returns c.Rules.
func (c Causes) Of(line string, added bool) string {
	sign, text := "-", ""
	if added {
		sign = "+"
	}
	if len(line) > 4 {
		text = line[4:]
	}
	if name, ok := c.lines[sign+text]; ok {
		return name
	}
	return c.Rules
}

package rewrite

import (
	"slices"
	"strconv"
	"strings"
)

// What the policy changes by itself has a name in traces too: the key of the
// configuration, or what it is.
const (
	serverTLSCause  = "server_tls"
	clientTLSCause  = "client_tls"
	xclientCause    = "xclient"
	notCarriedCause = "not-carried"
	sizeCause       = "message_size"
	limitsCause     = "limits"
	bindingCause    = "channel-binding"
	requireTLSCause = "requiretls"
)

// account makes an EHLO reply true of the session, after the rules: what the
// server offers and we cannot carry goes, what we bound is lowered, and what we
// offer ourselves is put in.
func (d *Dialogue) account(r *Reply, c *causes) {
	e := Extensions{reply: r}
	k := e.known()
	if k&offersUncarried != 0 {
		d.step(e, c, notCarriedCause, d.dropUncarried)
	}
	if inClear := d.endsTLS() && !d.seen.tls; inClear && k&offersSTARTTLS == 0 || !inClear && k&offersSTARTTLS != 0 && !d.passesTLS() {
		d.step(e, c, clientTLSCause, d.accountSTARTTLS)
	}
	if k&offersPLUS != 0 && (d.seen.tls || d.server.tls) {
		d.step(e, c, bindingCause, dropPLUS)
	}
	// RFC 8689, 2 and 4.1: both connections encrypted, and the server's certificate verified.
	if k&offersREQUIRETLS != 0 && !(d.seen.tls && d.server.tls && d.policy.VerifiesServer) {
		d.step(e, c, requireTLSCause, func(e Extensions) { e.Drop("REQUIRETLS") })
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

// step is one change of account's, with its cause.
func (d *Dialogue) step(e Extensions, c *causes, cause string, do func(Extensions)) {
	if d.tracer == nil {
		do(e)
		return
	}
	before := e.reply.clone()
	do(e)
	c.changed(true, before, *e.reply, cause)
}

// dropUncarried takes out what swaps the roles, makes the server trust us, or
// carries a payload that we cannot count.
func (d *Dialogue) dropUncarried(e Extensions) {
	e.DropFunc(func(name, _ string) bool {
		v := verbNamed([]byte(name))
		return uncarried.Has(v) || v == VerbAnonymousTLS && !d.passesTLS()
	})
}

// accountSTARTTLS takes STARTTLS out, or puts it in where we end it.
func (d *Dialogue) accountSTARTTLS(e Extensions) {
	if e.Has("STARTTLS") {
		e.Drop("STARTTLS")
	} else {
		e.Add("STARTTLS")
	}
}

// dropPLUS takes out the mechanisms that bind a login to the TLS connection:
// where TLS ends here, client and server see different ones (RFC 5802, 6).
func dropPLUS(e Extensions) {
	binds := func(mechanism string) bool { return strings.HasSuffix(strings.ToUpper(mechanism), "-PLUS") }
	isLeft := func(mechanism string) bool { return !binds(mechanism) }
	e.DropFunc(func(name, params string) bool {
		mechanisms := strings.Fields(params)
		return name == "AUTH" && len(mechanisms) > 0 && !slices.ContainsFunc(mechanisms, isLeft)
	})
	for i, line := range e.lines() {
		name, params := cutKeyword(line)
		if mechanisms := strings.Fields(params); strings.EqualFold(name, "AUTH") && slices.ContainsFunc(mechanisms, binds) {
			e.lines()[i] = line[:len(name)+1] + strings.Join(slices.DeleteFunc(mechanisms, binds), " ")
		}
	}
}

// lowerSIZE lowers what is said of the size of a message to our limit. SIZE
// without a number, or with 0, has promised no limit (RFC 1870, 4).
func (d *Dialogue) lowerSIZE(e Extensions) {
	limit := d.policy.Limits.MessageSize
	n, err := strconv.ParseInt(strings.Join(e.Params("SIZE"), " "), 10, 64)
	if err != nil || n <= 0 || n > limit {
		e.Set("SIZE", strconv.FormatInt(limit, 10))
	}
}

// lowerLIMITS lowers the numbers of messages and recipients that LIMITS
// announces to ours (RFC 9422, 4).
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

// causes say on whose account lines of a reply differ: by "-" and a line that
// went, or "+" and one that came.
type causes map[string]string

// changed keeps what one rule, or one step of the policy, has done to a reply.
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

// Causes say on whose account a reply, or a command, is not what was said.
type Causes struct {
	Rules string // the rules that acted, joined with commas
	lines causes
}

// Of names the rule, or the part of the policy, to which a line of a reply is
// owed that was taken out, or put in. line has its code.
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

package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"smtpshim/proxy/provider"
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// verbNames are the names of verbs as the observer gets them, by verb.
var verbNames = func() []string {
	names := rewrite.VerbNames()
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	return names
}()

// replyWaits say that a session waits for the reply to a verb, by verb.
var replyWaits = func() []string {
	waits := slices.Clone(verbNames)
	for i, name := range waits {
		waits[i] = "waiting for the reply to " + name
	}
	return waits
}()

// Verbs returns the names of all verbs that an Observer can be called with, in lower
// case.
func Verbs() []string { return slices.Clone(verbNames) }

// A summary is what is reported of a session at its end.
type summary struct {
	messages             int            // how many messages were accepted
	octets               int64          // the size of all messages
	unanswered           int64          // the size of the message that has no reply yet
	rules                map[string]int // how often each rule acted
	would                Would          // nil: nothing
	clientTLS, serverTLS string         // the TLS versions; "": in clear
	counted              [2]int64       // octets of client and server that were reported
}

// message adds octets of a message, or of a chunk of a message.
func (s *summary) message(octets int64) {
	s.octets += octets
	s.unanswered += octets
}

// begin gives the session its name, its log and its dialogue, and tells the observer.
func (s *session) begin() {
	s.id = s.proxy.newID()
	s.waits = uint32(s.began.UnixNano() >> 10) // sessions sample different waits
	s.log = s.proxy.logger()
	var listener rewrite.Listener = heard{s}
	if s.route.Dialogue != nil {
		s.listener = s.route.Dialogue(s.beginning())
	}
	if s.listener != nil || s.log.Enabled(context.Background(), slog.LevelDebug) {
		listener = traced{heard{s}}
	}
	s.dialogue = rewrite.New(&s.route.policy, s.address, listener)
	s.dialogue.Connected(s.ends.Client, s.ends.Destination)
	s.begun = true
	if s.route.Observer != nil {
		s.route.Observer.SessionBegan()
	}
}

func (s *session) beginning() Beginning {
	return Beginning{Session: s.id, Route: s.route.Name, Client: s.address, At: s.began}
}

// tellEnd tells the observer the products that were recognised. It reports the session's end
// to the listener of the dialogue, or to Route.Ended if there is no listener.
func (s *session) tellEnd() {
	if s.begun && s.route.Observer != nil {
		for _, p := range s.dialogue.Products() {
			s.route.Observer.Recognised(p.Name, p.By)
		}
	}
	if !s.begun || s.listener == nil && s.route.Ended == nil {
		return
	}
	e := Ending{
		Outcome: s.outcome, Server: s.serverName, Hello: s.dialogue.Hello(), Messages: s.sum.messages, Octets: s.sum.octets,
		Rules: s.sum.rules, Would: s.sum.would, ClientTLS: s.sum.clientTLS, ServerTLS: s.sum.serverTLS,
		ClientAuth: s.mechanism(vocabulary.SideClient), ServerAuth: s.mechanism(vocabulary.SideServer), Refused: s.refusal(), While: s.while, Lasted: s.proxy.clock().Sub(s.began),
		Products: s.dialogue.Products(),
	}
	if s.err != nil {
		e.Err = s.err.Error()
	}
	if s.listener == nil {
		s.route.Ended(s.beginning(), e)
		return
	}
	s.listener.End(e)
}

// logEnd writes the line of the session in the log. A session has one such line.
func (s *session) logEnd() {
	if !s.begun {
		return
	}
	level, smooth := slog.LevelInfo, false
	switch s.outcome {
	case vocabulary.OutcomeOK, vocabulary.OutcomeOpaque, vocabulary.OutcomeDrained:
		smooth = true
	case vocabulary.OutcomeSilent:
		level, smooth = slog.LevelDebug, true
	case vocabulary.OutcomeClientLost, vocabulary.OutcomeCutOff:
		if s.dialogue.Mailing() {
			level = slog.LevelWarn
		}
	default:
		level = slog.LevelWarn
	}
	if smooth && s.balancer.IsValid() && s.address == s.balancer && s.sum.messages == 0 {
		level = slog.LevelDebug // a health check of the balancer
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	now := s.proxy.clock()
	attrs := append(make([]slog.Attr, 0, 16),
		slog.String("route", s.route.Name), slog.String("session", s.id), s.caller(),
		slog.String("server", s.serverName), slog.String("hello", printable(s.dialogue.Hello())), slog.String("outcome", string(s.outcome)),
		slog.Int("messages", s.sum.messages), slog.Int64("bytes", s.sum.octets),
		slog.Float64("seconds", float64(now.Sub(s.began).Milliseconds())/1000),
	)
	if s.balancer.IsValid() {
		attrs = append(attrs, slog.Any("proxy", s.balancer))
	}
	if s.introducer.IsValid() {
		attrs = append(attrs, slog.Any("xclient", s.introducer))
	}
	if s.sum.clientTLS != "" {
		attrs = append(attrs, slog.String("client_tls", s.sum.clientTLS))
	}
	if s.sum.serverTLS != "" {
		attrs = append(attrs, slog.String("server_tls", s.sum.serverTLS))
	}
	if m := s.mechanism(vocabulary.SideClient); m != "" {
		attrs = append(attrs, slog.String("client_auth", string(m)))
	}
	if m := s.mechanism(vocabulary.SideServer); m != "" {
		attrs = append(attrs, slog.String("server_auth", string(m)))
	}
	if s.early {
		attrs = append(attrs, slog.Bool("early", true))
	}
	if s.classic {
		attrs = append(attrs, slog.String("key_exchange", "classic"))
	}
	if rules := ruleList(s.sum.rules); rules != "" {
		attrs = append(attrs, slog.String("rules", rules))
	}
	if would := ruleList(s.sum.would.Counts()); would != "" {
		attrs = append(attrs, slog.String("would", would))
	}
	if products := productList(s.dialogue.Products()); products != "" {
		attrs = append(attrs, slog.String("products", products))
	}
	if refused := s.refusal(); refused.Code != 0 {
		attrs = append(attrs, slog.String("refused", refused.Verb), slog.Int("code", refused.Code), slog.String("text", printable(refused.Text)))
		if refused.Means != "" {
			attrs = append(attrs, slog.String("means", refused.Means), slog.String("do", refused.Do))
		}
	}
	if s.while != "" && (s.err != nil || !smooth) {
		attrs = append(attrs, slog.String("while", s.while))
	}
	if s.err != nil {
		attrs = append(attrs, slog.String("err", printable(s.err.Error())))
	}
	// The record has no source line: finding it would take a sixth of the time.
	r := slog.NewRecord(now, level, "session", 0)
	r.AddAttrs(attrs...)
	_ = s.log.Handler().Handle(context.Background(), r)
}

// caller returns the client's address for the log. It is "local" if the client came by a
// socket in the file system, and "unknown" if XCLIENT named no address.
func (s *session) caller() slog.Attr {
	switch {
	case s.address.IsValid():
		return slog.Any("client", s.address)
	case s.introducer.IsValid():
		return slog.String("client", "unknown")
	}
	return slog.String("client", "local")
}

// printable returns what a peer said in a form that is safe in a log: quoted if it is not
// plain. The handlers of log/slog do not escape DEL, and in JSON they do not escape control
// characters beyond ASCII either. A terminal acts on these.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// ruleList lists rules. If a rule acted more than once, its name is followed by how often.
func ruleList(times map[string]int) string {
	var list []string
	for name, n := range times {
		if n > 1 {
			name = fmt.Sprintf("%s*%d", name, n)
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// productList lists products, each with the sign by which it was recognised.
func productList(products []rewrite.Product) string {
	var list []string
	for _, p := range products {
		list = append(list, p.Name+":"+string(p.By))
	}
	return strings.Join(list, ",")
}

// messageOutcome reports the outcome of a message, unless that was reported when a chunk of
// it was refused.
func (s *session) messageOutcome(outcome vocabulary.MessageOutcome) {
	if s.chunkRefused && outcome != vocabulary.MessageAccepted {
		s.sum.unanswered = 0
		return
	}
	if s.route.Observer != nil {
		s.route.Observer.Message(outcome, s.sum.unanswered)
		s.countOctets()
	}
	s.sum.unanswered = 0
}

// countOctets reports the octets that have been read since it was called last.
func (s *session) countOctets() {
	if s.route.Observer == nil || !s.begun {
		return
	}
	now := [2]int64{s.client.Total, s.serverIn}
	if s.server != nil {
		now[1] += s.server.Total
	}
	for i, side := range [2]vocabulary.Side{vocabulary.SideClient, vocabulary.SideServer} {
		s.route.Observer.Bytes(side, now[i]-s.sum.counted[i])
	}
	s.sum.counted = now
}

// heard is the listener of the dialogue. It passes on to the observer what it is told, and
// records it for the end of the session.
type heard struct{ s *session }

func (h heard) Command(v rewrite.Verb) {
	if o := h.s.route.Observer; o != nil {
		o.Command(verbNames[v])
	}
}

func (h heard) Replied(v rewrite.Verb, code int, text []byte) {
	if v != rewrite.VerbMessage || !h.s.recipientReplied(code, text) {
		means, do := h.s.dialogue.Explanation()
		h.s.refusals.replied(v, code, text, provider.Meaning{Means: means, Do: do}, &h.s.recipient)
	}
	if o := h.s.route.Observer; o != nil {
		o.Reply(code)
	}
}

func (h heard) Applied(rule string) {
	if h.s.sum.rules == nil {
		h.s.sum.rules = map[string]int{}
	}
	h.s.sum.rules[rule]++
	if o := h.s.route.Observer; o != nil {
		o.RuleApplied(rule)
	}
}

func (h heard) Broke(rule, why string) {
	h.s.log.Error("a rule failed, and its change was discarded", "route", h.s.route.Name, "session", h.s.id, "rule", rule, "why", why)
	if o := h.s.route.Observer; o != nil {
		o.RuleBroken(rule)
	}
}

func (h heard) Limited(limit vocabulary.Limit) { h.s.limited(limit) }

// limited reports a limit that the client has exceeded.
func (s *session) limited(limit vocabulary.Limit) {
	if s.route.Observer != nil {
		s.route.Observer.LimitMet(limit)
	}
}

// tellHeld reports for how long the session worked before the wait that begins now. It does
// so for one wait in heldEvery.
func (s *session) tellHeld() {
	if s.waits++; s.waits%heldEvery == 0 && s.route.Observer != nil {
		s.route.Observer.Held(s.proxy.clock().Sub(s.now))
	}
}

// heldEvery is the sampling rate of Observer.Held: reading the clock costs time. It is prime,
// so that the sample does not always hit the same step of a dialogue that repeats.
const heldEvery = 17

// traced is heard that also passes on the lines, in the notation of transcripts.
type traced struct{ heard }

func (t traced) Exchanged(side byte, said, got []string, by rewrite.Causes) {
	for _, l := range transcript.Exchange(transcript.Side(side), said, got, by.Rules, by.Of) {
		t.line(l)
	}
}

func (t traced) Event(what string) { t.line(transcript.Line{Text: what}) }

func (t traced) line(l transcript.Line) {
	if t.s.listener != nil {
		t.s.listener.Line(l)
	}
	if t.s.log.Enabled(context.Background(), slog.LevelDebug) {
		mark := "~"
		if l.Side != 0 {
			mark = string([]byte{byte(l.Side), byte(l.Mark)})
		}
		attrs := []slog.Attr{slog.String("session", t.s.id), slog.String("side", mark), slog.String("line", printable(l.Text))}
		if l.Rule != "" {
			attrs = append(attrs, slog.String("rule", l.Rule))
		}
		t.s.log.LogAttrs(context.Background(), slog.LevelDebug, "line", attrs...)
	}
}

package smtptest

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Server is a row of the table of servers: what a product sends, and its faults. If a
// field for a fault is zero, the server does not have the fault.
type Server struct {
	Name string // such as "exchange-5.0"
	Doc  string // which product it stands for, and its faults

	Greeting []Text
	// Ehlo is the reply to EHLO without its codes: the first line and the keywords.
	// The server omits STARTTLS inside TLS, and everywhere if TLS is nil. It omits the
	// keywords of authentication if Auth is empty; if AuthSecure is true, it omits them
	// outside TLS. If Ehlo is empty, the server does not know EHLO, and replies with
	// Verbs["EHLO"] or Replies.Unknown.
	Ehlo    []Text
	Replies Replies
	Verbs   map[string]Text // replies to further verbs, by verb in upper case
	// Auth has the forms of AUTH and XAUTH that the server knows, such as
	// [AuthInitial].
	Auth []Text

	Host string // its host name; default mail.example.com
	// User is the only user who may log in by LOGIN, PLAIN, XOAUTH2 or OAUTHBEARER;
	// "": every user may. By NTLM every user may.
	User     string
	Password string // for NTLM, LOGIN and PLAIN; default "password"
	Token    string // for XOAUTH2 and OAUTHBEARER; default "token"
	// Accepts reports whether the server accepts token, an XOAUTH2 or OAUTHBEARER
	// token; nil: it accepts Token only.
	Accepts func(token string) bool
	Timeout time.Duration // for each read and write; default 5 minutes
	// TLS is the configuration for STARTTLS, which is offered only if Ehlo has it. If TLS
	// is nil, there is no STARTTLS.
	TLS   *tls.Config
	Lasts bool // keeps no dialogues and no messages, to run for long
	// Received is called with each message, just before the 250 for it is sent. Calls
	// for different sessions may overlap. If Received is nil, it is not called.
	Received func(Message)

	HangsUp      bool    // hangs up on EHLO without a reply
	OneHello     bool    // accepts one EHLO or HELO, and one more inside TLS
	RefusesDot   bool    // refuses a dot at the end of the name in EHLO and HELO
	RefusesEmpty bool    // refuses EHLO and HELO without a name
	RequiresTLS  bool    // accepts MAIL only inside TLS, unless TLS is nil
	Forgets      Forgets // with RequiresTLS: when it forgets that TLS is in use
	AuthSecure   bool    // offers and accepts authentication inside TLS only
	RequiresAuth bool    // accepts MAIL only after AUTH
	Seals        bool    // seals after 235, if the third NTLM message asks for it

	Closes    bool // refuses an unknown command, and hangs up
	LateHello bool // answers the first EHLO or HELO of a session as an unknown command
	HidesEhlo bool // answers EHLO like NOOP, and accepts MAIL only after HELO
	NoLast    bool // sends "250-" in the last line of the EHLO reply too
	// If Strict is true, the server refuses MAIL and RCPT with a blank before the
	// path, or with a parameter that the EHLO reply has not offered.
	Strict    bool
	CutsAtDot bool // keeps a message only up to a line that begins with a dot
	// LongestLine is the limit for lines of a message, in octets without the line end.
	// A message with a longer line is refused. 0: no limit.
	LongestLine int

	// If RequiresCertificate is true, the server accepts MAIL only from a client
	// that has shown a certificate. The field TLS must ask clients for one, and
	// decides which are accepted.
	RequiresCertificate bool

	// Gap is the pause after the first line of the reply to DATA, if the reply has
	// several lines. It ends early when the client sends something. If GapFunc is
	// not nil, the server calls GapFunc in place of the pause; Close waits until
	// GapFunc returns.
	Gap     time.Duration
	GapFunc func()

	// Mend changes its argument so that it lacks the fault of the row, as a later
	// version or another setting of the product does. Mended calls Mend. nil: there
	// is nothing to change.
	Mend func(*Server)
}

// Mended returns a copy of s that was changed by s.Mend, and true. The copy has no
// Mend, and its Name ends with ", mended". If s.Mend is nil, Mended returns s and
// false.
func (s Server) Mended() (Server, bool) {
	if s.Mend == nil {
		return s, false
	}
	mend := s.Mend
	s.Mend, s.Name = nil, s.Name+", mended"
	s.Greeting, s.Ehlo, s.Auth, s.Verbs = slices.Clone(s.Greeting), slices.Clone(s.Ehlo), slices.Clone(s.Auth), maps.Clone(s.Verbs)
	mend(&s)
	return s, true
}

// Replies are a server's replies, each a whole line with its code. A reply that the
// server has to send must not be zero, unless its comment says otherwise.
type Replies struct {
	Hello    Text // to HELO
	BadHello Text // to EHLO or HELO refused by RefusesDot or RefusesEmpty
	Order    Text // to a command out of order
	Mail     Text
	MailSize Text // to MAIL with SIZE; zero: Mail
	Rcpt     Text
	Data     []Text // to DATA; for a pause after the first line, see Server.Gap
	Accepted Text   // to the end of a message
	Reset    Text   // to RSET
	Noop     Text
	Quit     Text // to QUIT
	Unknown  Text // to an unknown command, and often to a malformed one
	BadPath  Text // with Strict, to a blank before a path and to an invalid path
	BadParam Text // with Strict, to a parameter that was not offered
	LongLine Text // to a message with a line over LongestLine

	StartTLS      Text // to STARTTLS
	NeedTLS       Text // with RequiresTLS, to MAIL in clear, or in TLS as Forgets says
	Prompt        Text // 334, to AUTH or XAUTH without the first NTLM message
	Authenticated Text // 235, to right credentials
	Denied        Text // to wrong credentials
	// DeniedLines, if any, are sent as one reply in place of Denied, except in NTLM.
	DeniedLines []Text
	// Failure is the challenge (334) that a wrong token gets before Denied; zero: none.
	Failure         Text
	NeedAuth        Text // with RequiresAuth, to MAIL before AUTH
	NeedCertificate Text // with RequiresCertificate, to MAIL from a client without one
	Cancelled       Text // in NTLM, to "*" and to a malformed message
	// OtherAuth is the reply to a form of AUTH or XAUTH that Auth does not have. If
	// AuthSecure is true, it is also the reply to every form outside TLS.
	OtherAuth Text
}

// A Forgets says when a server refuses MAIL inside TLS as if there were no TLS. KB
// Q279214 says that a first message fails and a second one passes, but not what makes
// the difference. All values are assumed.
type Forgets int

const (
	ForgetsNothing   Forgets = iota
	ForgetsFirst             // on the first TLS connection from each address
	ForgetsUnresumed         // on each TLS session that is not resumed
	ForgetsAlways            // on every connection
	ForgetsUntilEhlo         // until EHLO is repeated inside TLS
)

// WithXauth returns a copy of s in which keywords, such as an element of
// [XauthSpellings], replace the keywords for XAUTH in the EHLO reply.
func (s Server) WithXauth(keywords ...string) Server {
	isXauth := func(t Text) bool { return offers(t.Line, "XAUTH") }
	at := slices.IndexFunc(s.Ehlo, isXauth)
	if at < 0 {
		at = len(s.Ehlo)
	}
	ehlo := slices.DeleteFunc(slices.Clone(s.Ehlo), isXauth)
	for i, keyword := range keywords {
		ehlo = slices.Insert(ehlo, at+i, Text{keyword, "assumed: KB Q195201 has the word XAUTH alone"})
	}
	s.Ehlo = ehlo
	return s
}

// WithAuth returns a copy of s that knows only the given forms of AUTH and XAUTH, such
// as [AuthInitial]. The EHLO reply stays as it is, unless forms is empty: then it
// offers neither AUTH nor XAUTH.
func (s Server) WithAuth(forms ...string) Server {
	s.Auth = nil
	for _, form := range forms {
		s.Auth = append(s.Auth, Text{form, "assumed: chosen for a variant"})
	}
	return s
}

// ehlo returns the reply to EHLO with its codes.
func (s Server) ehlo(secure bool, fill ...string) []string {
	var lines []string
	for i, t := range s.Ehlo {
		if i > 0 && offers(t.Line, "STARTTLS") && (s.TLS == nil || secure) {
			continue
		}
		if i > 0 && (len(s.Auth) == 0 || s.AuthSecure && !secure) && offersAuth(t.Line) {
			continue
		}
		lines = append(lines, "250-"+t.fill(fill...))
	}
	last := len(lines) - 1
	if !s.NoLast {
		lines[last] = "250 " + lines[last][4:]
	}
	return lines
}

// offers reports whether a line of an EHLO reply has this keyword, in any spelling:
// alone, before a blank, or before an equals sign.
func offers(line, keyword string) bool {
	if len(line) < len(keyword) || !strings.EqualFold(line[:len(keyword)], keyword) {
		return false
	}
	rest := line[len(keyword):]
	return rest == "" || rest[0] == ' ' || rest[0] == '='
}

// A Running is a server that was started by [Server.Start]. It records dialogues and
// messages.
type Running struct {
	server   Server
	listener net.Listener
	accepts  chan struct{} // closed when no further connections are accepted

	mu       sync.Mutex
	ended    *sync.Cond // signals the end of a session
	closed   bool
	open     map[net.Conn]bool
	wires    []*wire
	messages []Message
	taken    int             // number of messages accepted
	knownTLS map[string]bool // addresses that have had a TLS connection
}

// Start returns at once, and serves each connection that l accepts in other goroutines,
// until [Running.Close] is called. Close also closes l.
func (s Server) Start(l net.Listener) *Running {
	if s.Host == "" {
		s.Host = "mail.example.com"
	}
	if s.Password == "" {
		s.Password = "password"
	}
	if s.Token == "" {
		s.Token = "token"
	}
	if s.Accepts == nil {
		s.Accepts = func(token string) bool { return token == s.Token }
	}
	if s.Timeout == 0 {
		s.Timeout = 5 * time.Minute
	}
	r := &Running{
		server:   s,
		listener: l,
		accepts:  make(chan struct{}),
		open:     make(map[net.Conn]bool),
		knownTLS: make(map[string]bool),
	}
	r.ended = sync.NewCond(&r.mu)
	go r.accept()
	return r
}

func (r *Running) accept() {
	defer close(r.accepts)
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		w := newWire(conn, r.server.Timeout, "S")
		w.forgets = r.server.Lasts
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			conn.Close()
			return
		}
		r.open[conn] = true
		if !r.server.Lasts {
			r.wires = append(r.wires, w)
		}
		r.mu.Unlock()
		go func() {
			err := (&session{Server: r.server, running: r, w: w}).serve()
			if !errors.Is(err, errHungUp) {
				w.note("~", "client lost: "+err.Error())
			}
			w.conn.Close()
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.open, conn)
			r.ended.Broadcast()
		}()
	}
}

// Addr returns the address at which the server listens.
func (r *Running) Addr() string { return r.listener.Addr().String() }

// Messages returns the messages accepted so far, in order. A message is added just before
// its 250 is sent, so the client may not have received the 250. With Server.Lasts there
// are none.
func (r *Running) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Dialogues returns the dialogue of each connection so far, in the order in which the
// connections were accepted. With Server.Lasts there are none.
func (r *Running) Dialogues() []Dialogue {
	r.mu.Lock()
	wires := slices.Clone(r.wires)
	r.mu.Unlock()
	dialogues := make([]Dialogue, len(wires))
	for i, w := range wires {
		dialogues[i] = w.dialogue()
	}
	return dialogues
}

// Wait waits until all connections accepted so far have ended.
func (r *Running) Wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.open) > 0 {
		r.ended.Wait()
	}
}

// Close closes the listener and all connections, and waits until all sessions have ended.
// It returns the error of closing the listener.
func (r *Running) Close() error {
	r.mu.Lock()
	r.closed = true
	for conn := range r.open {
		conn.Close()
	}
	r.mu.Unlock()
	err := r.listener.Close()
	<-r.accepts
	r.Wait()
	return err
}

// stored records a message that is about to be answered with 250, and returns its number,
// from 1.
func (r *Running) stored(m Message) int {
	if r.server.Received != nil {
		r.server.Received(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.server.Lasts {
		r.messages = append(r.messages, m)
	}
	r.taken++
	return r.taken
}

// firstTLS reports whether this address has had no TLS connection before.
func (r *Running) firstTLS(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.knownTLS[address]
	r.knownTLS[address] = true
	return first
}

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

// A Server is a row of the table of servers: what a product says and what it
// gets wrong. The zero value of a field is the right behaviour, or the
// default that its comment names.
type Server struct {
	Name string // as in "exchange-5.0"
	Doc  string // what it stands for and what it gets wrong

	Greeting []Text
	// Ehlo is the answer to EHLO without its codes, the first line and the
	// keywords; none: EHLO is no command. STARTTLS is left out without TLS
	// and under it, and whatever offers authentication without Auth, and in clear
	// with AuthSecure.
	Ehlo    []Text
	Replies Replies
	Verbs   map[string]Text // answers to other verbs, in upper case
	Auth    []Text          // forms of AUTH and XAUTH that are understood

	Host     string                  // its own name; mail.example.com
	User     string                  // of Password and Token; "": whoever says it
	Password string                  // NTLM, LOGIN and PLAIN; "password"
	Token    string                  // XOAUTH2 and OAUTHBEARER; "token"
	Accepts  func(token string) bool // takes the place of Token; nil: that
	Timeout  time.Duration           // of each read and write; 5 minutes
	TLS      *tls.Config             // nil: no STARTTLS
	Lasts    bool                    // long: it keeps neither dialogues nor messages

	HangsUp      bool    // on EHLO, without a word
	OneHello     bool    // EHLO or HELO once is all it takes
	RefusesDot   bool    // a dot at the end of the client's name
	RefusesEmpty bool    // EHLO and HELO without a name
	RequiresTLS  bool    // MAIL only after STARTTLS, if there is TLS
	Forgets      Forgets // that TLS is up; only with RequiresTLS
	AuthSecure   bool    // offers and takes authentication inside TLS only
	RequiresAuth bool    // MAIL only after AUTH
	Seals        bool    // after 235, if the client's type-3 message asks for it

	Closes      bool // after a command that it does not know
	LateHello   bool // the first EHLO or HELO of a session is no command to it
	HidesEhlo   bool // EHLO reaches it as NOOP, and MAIL has to wait for HELO
	NoLast      bool // its EHLO reply has no last line
	Strict      bool // about blanks in MAIL and RCPT, and parameters that it has not offered
	CutsAtDot   bool // a message at a line that begins with a dot
	LongestLine int  // octets of a line of a message without its end; 0: any

	RequiresCertificate bool // MAIL only if the client has shown a certificate; TLS says which are right

	Gap     time.Duration // longest pause after the first line of an answer to DATA; ends when the client speaks
	GapFunc func()        // takes the place of Gap; Close waits for it to return

	// Mend changes a row to one without what it gets wrong. nil: it gets nothing wrong
	// that it could get right.
	Mend func(*Server)
}

// Mended is the row without what it gets wrong; false: there is no such row.
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

// Replies are a server's answers, each a whole line with its code.
type Replies struct {
	Hello    Text // to HELO
	BadHello Text // to a name that it refuses
	Order    Text // to a command out of order
	Mail     Text
	MailSize Text // to MAIL with SIZE; none: Mail
	Rcpt     Text
	Data     []Text // lines with their codes; more than one may come apart, see Gap
	Accepted Text   // to the end of a message
	Reset    Text   // to RSET
	Noop     Text
	Quit     Text //
	Unknown  Text // to what is no command
	BadPath  Text // to a blank before a path, and to a path that is none, if Strict; none: Unknown
	BadParam Text // to a parameter that was not offered, if Strict
	LongLine Text // to a message with a line over LongestLine

	StartTLS        Text   // the go-ahead
	NeedTLS         Text   // to MAIL in clear
	Prompt          Text   // 334 to an AUTH that has no first message
	Authenticated   Text   // 235
	Denied          Text   // to a wrong password
	DeniedLines     []Text // whole lines; take the place of Denied for whatever is not NTLM
	Failure         Text   // 334 to a wrong token, before that; none: that comes at once
	NeedAuth        Text   // to MAIL before AUTH, with RequiresAuth
	NeedCertificate Text   // to MAIL of a client without, with RequiresCertificate
	Cancelled       Text   // to "*", and to what is no NTLM message
	OtherAuth       Text   // to AUTH and XAUTH in a form that is not in Auth
}

// Forgets is when a server with TLS up says that STARTTLS has to come first.
// The article (KB Q279214) tells that a first message fails and a second one
// passes, and not what tells them apart; all of these are assumed.
type Forgets int

const (
	ForgetsNothing   Forgets = iota
	ForgetsFirst             // on the first TLS connection from each address
	ForgetsUnresumed         // whenever the TLS session is not a resumed one
	ForgetsAlways            // on every connection
	ForgetsUntilEhlo         // until EHLO is said again under TLS
)

// WithXauth offers XAUTH by these keywords, see [XauthSpellings], in the place
// of the ones that the row has.
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

// WithAuth understands these forms of AUTH and XAUTH and no others.
func (s Server) WithAuth(forms ...string) Server {
	s.Auth = nil
	for _, form := range forms {
		s.Auth = append(s.Auth, Text{form, "assumed: chosen for a variant"})
	}
	return s
}

// ehlo is the answer to EHLO with its codes.
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

// offers reports whether a line of an EHLO answer has this keyword, in any
// spelling: alone, before a blank, or before an equals sign.
func offers(line, keyword string) bool {
	if len(line) < len(keyword) || !strings.EqualFold(line[:len(keyword)], keyword) {
		return false
	}
	rest := line[len(keyword):]
	return rest == "" || rest[0] == ' ' || rest[0] == '='
}

// Running is a server that answers connections.
type Running struct {
	server   Server
	listener net.Listener
	accepts  chan struct{} // closed when no more connections are accepted

	mu       sync.Mutex
	ended    *sync.Cond // a session has
	closed   bool
	open     map[net.Conn]bool
	wires    []*wire
	messages []Message
	taken    int             // messages
	knownTLS map[string]bool // addresses that have had a TLS connection
}

// Start answers each connection to l until Close; l is its own from now on.
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

// Addr is where the server listens.
func (r *Running) Addr() string { return r.listener.Addr().String() }

// Messages are the messages that were answered with 250, or were about to be.
func (r *Running) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Dialogues are what was said on each connection, in the order in which the
// connections came.
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

// Wait returns when every connection that was accepted so far has ended.
func (r *Running) Wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.open) > 0 {
		r.ended.Wait()
	}
}

// Close closes the listener and every connection, and returns when nothing
// runs any more.
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

// stored takes a message that is about to be answered with 250, and gives its
// number, from 1.
func (r *Running) stored(m Message) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.server.Lasts {
		r.messages = append(r.messages, m)
	}
	r.taken++
	return r.taken
}

// firstTLS reports whether this address had no TLS connection before.
func (r *Running) firstTLS(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.knownTLS[address]
	r.knownTLS[address] = true
	return first
}

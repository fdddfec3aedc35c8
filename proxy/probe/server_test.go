package probe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// A talker answers each verb with octets as they are; a verb that it does not know gets
// 250, and "greeting" is the greeting. QUIT and octets of "" end the session.
type talker map[string]string

// start answers connections until the test ends, one after the other.
func (s talker) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.talk(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func (s talker) talk(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	greeting, ok := s["greeting"]
	if !ok {
		greeting = "220 mail.example.com ESMTP\r\n"
	}
	if io.WriteString(conn, greeting); greeting == "" {
		return
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		command := strings.TrimSuffix(line, "\r\n")
		verb, _, _ := strings.Cut(strings.TrimRight(command, "\n"), " ")
		answer, ok := s[command]
		if !ok {
			answer, ok = s[strings.ToUpper(verb)]
		}
		switch {
		case ok && answer == "", err != nil:
			return
		case verb == "QUIT":
			io.WriteString(conn, "221 bye\r\n")
			return
		case !ok && verb == "EHLO":
			answer = "250-mail.example.com\r\n250 8BITMIME\r\n"
		case !ok && verb == "HELO":
			answer = "250 mail.example.com\r\n"
		case !ok && verb == "HELP":
			answer = "214 help\r\n"
		case !ok:
			answer = "250 ok\r\n"
		}
		io.WriteString(conn, answer)
	}
}

// server is a Server that is examined without waiting for long.
func server(address string) Server {
	return Server{Name: "client.example.com", Host: "mail.example.com", Mail: "anna@example.com",
		Wait: time.Minute, Rest: 100 * time.Millisecond, Linger: 5 * time.Millisecond,
		Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp", address) }}
}

func examine(t *testing.T, s Server) Report {
	t.Helper()
	r, err := s.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found are the names and entries of what is found, of all kinds.
func found(r Report) (list []string) {
	for _, f := range r.Findings {
		list = append(list, strings.TrimSpace(f.Name+" "+f.Entry))
	}
	return list
}

func TestWhatAServerDoesWrongIsFoundAndNothingElse(t *testing.T) {
	ehlo := func(keywords ...string) string {
		return "250-mail.example.com\r\n250-" + strings.Join(append(keywords, "8BITMIME"), "\r\n250-") + "\r\n250 HELP\r\n"
	}
	for name, c := range map[string]struct {
		server talker
		want   []string
	}{
		"nothing":             {talker{}, nil},
		"LF":                  {talker{"NOOP": "250 ok\n"}, []string{"line-ends L83"}},
		"CR CR LF":            {talker{"greeting": "220 mail.example.com ESMTP\r\r\n"}, []string{"line-ends L83"}},
		"a line without code": {talker{"NOOP": "hello\r\n250 ok\r\n"}, []string{"lines-without-code L84"}},
		"a TAB":               {talker{"NOOP": "250\tok\r\n"}, []string{"separators L84"}},
		"mixed codes":         {talker{"greeting": "220-mail.example.com ESMTP\r\n554 no\r\n"}, []string{"mixed-codes L81", "greeting-refuses L05"}},
		"a code alone":        {talker{"NOOP": "250\r\n"}, []string{"bare-codes L61"}},
		"a code and a blank":  {talker{"NOOP": "250 \r\n"}, []string{"empty-texts L61"}},
		"blanks for hyphens":  {talker{"EHLO": "250 mail.example.com\r\n250 8BITMIME\r\n"}, []string{"early-end L82"}},
		"no last line":        {talker{"EHLO": "250-mail.example.com\r\n250-8BITMIME\r\n"}, []string{"no-last-line L82"}},
		"a long line":         {talker{"NOOP": "250 " + strings.Repeat("x", 600) + "\r\n"}, []string{"reply-texts L87"}},
		"not ASCII":           {talker{"NOOP": "250 gr\xfc\xdfe\r\n"}, []string{"reply-texts L87"}},
		"another class":       {talker{"NOOP": "250 5.0.0 ok\r\n"}, []string{"status-codes L85"}},
		"two replies":         {talker{"NOOP": "250 ok\r\n250 ok\r\n"}, []string{"second-reply"}},
		"two lines":           {talker{"greeting": "220-mail.example.com ESMTP\r\n220 welcome\r\n"}, []string{"greeting-lines L01"}},
		"no name":             {talker{"greeting": "220 ESMTP ready\r\n"}, []string{"no-host-name L03"}},
		"paint":               {talker{"greeting": "220 ********2****0***ESMTP\r\n"}, []string{"no-host-name L03"}},
		"no greeting":         {talker{"greeting": ""}, []string{"no-greeting L11"}},
		"no ESMTP":            {talker{"greeting": "220 mail.example.com ready\r\n"}, []string{"no-esmtp L02"}},
		"EHLO refused":        {talker{"EHLO": "502 what?\r\n"}, []string{"ehlo-refused L21"}},
		"hung up on EHLO":     {talker{"EHLO": ""}, []string{"ehlo-hangs-up L20"}},
		"EHLO is NOOP":        {talker{"EHLO": "250 2.0.0 OK\r\n"}, []string{"ehlo-painted L07"}},
		"EHLO says OK":        {talker{"EHLO": "250 OK\r\n", "HELO": "250 OK\r\n"}, nil},
		"painted keywords":    {talker{"EHLO": ehlo("XXXXXXXA")}, []string{"painted-keywords L07"}},
		"AUTH twice":          {talker{"EHLO": ehlo("AUTH PLAIN", "AUTH LOGIN PLAIN"), "AUTH": "334 VXNlcm5hbWU6\r\n"}, []string{"auth-lines L27"}},
		"AUTH=":               {talker{"EHLO": ehlo("AUTH=CRAM-MD5")}, []string{"auth-equals L30", "keywords L26"}},
		"AUTH= too":           {talker{"EHLO": ehlo("AUTH PLAIN", "AUTH=PLAIN")}, []string{"keywords L26"}},
		"TLS":                 {talker{"EHLO": ehlo("TLS")}, []string{"tls-keyword L102"}},
		"SIZE 0":              {talker{"EHLO": ehlo("SIZE 0")}, []string{"size-zero L47"}},
		"TURN":                {talker{"EHLO": ehlo("TURN")}, []string{"turn L54"}},
		"STARTTLS refused":    {talker{"EHLO": ehlo("STARTTLS"), "STARTTLS": "454 TLS not available\r\n"}, []string{"starttls-refused L100"}},
		"TLS fails":           {talker{"EHLO": ehlo("STARTTLS"), "STARTTLS": "220 go\r\n500 what?\r\n"}, []string{"tls-fails L101"}},
		"a login's prompt":    {talker{"EHLO": ehlo("AUTH LOGIN"), "AUTH": "334 dXNlcm5hbWU6\r\n"}, []string{"login-prompt L31"}},
		"no such login":       {talker{"EHLO": ehlo("AUTH LOGIN"), "AUTH": "504 unknown\r\n"}, []string{"auth-untrue"}},
		"small letters":       {talker{"noop": "500 what?\r\n"}, []string{"small-letters L95"}},
		"a blank at the end":  {talker{"NOOP ": "501 what?\r\n"}, []string{"trailing-blank L95"}},
		"NOOP":                {talker{"NOOP": "220 ok\r\n"}, []string{"noop L53"}},
		"unknown":             {talker{"HELP": "500 what?\r\n", "NOOP\n": "250 ok\r\n"}, nil},
		"one MAIL":            {talker{"RSET": "500 what?\r\n", "MAIL FROM:<anna@example.com>": "503 no\r\n"}, []string{"mail-refused"}},
		"half of DSN":         {talker{"EHLO": ehlo("DSN"), "MAIL FROM:<anna@example.com> RET=HDRS": "501 no\r\n"}, []string{"untrue-dsn L52"}},
		"AUTH= of MAIL":       {talker{"EHLO": ehlo("AUTH CRAM-MD5"), "MAIL FROM:<anna@example.com> AUTH=<>": "501 no\r\n"}, []string{"auth-parameter L37"}},
		"null sender":         {talker{"MAIL FROM:<>": "550 no\r\n"}, []string{"null-sender L46"}},
		"a blank in MAIL":     {talker{"MAIL FROM: <anna@example.com>": "501 no\r\n"}, []string{"mail-forms L41"}},
		"a route in MAIL":     {talker{"MAIL FROM:<@relay.example.com:anna@example.com>": "501 no\r\n"}, []string{"mail-forms L44"}},
		"TLS wanted":          {talker{"EHLO": ehlo("STARTTLS"), "STARTTLS": "454 no\r\n", "MAIL": "530 Must issue a STARTTLS command first\r\n"}, []string{"starttls-refused L100", "tls-wanted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, server(c.server.start(t)))
			if got := found(r); !slices.Equal(got, c.want) {
				t.Errorf("found %q, not %q", got, c.want)
			}
			if name == "no greeting" && r.Missed == "" {
				t.Error("it does not say that nothing more was examined")
			}
			for _, f := range r.Findings {
				if len(f.Seen) == 0 || f.Means == "" || f.Heals == "" || f.Entry != "" && f.Source == "" {
					t.Errorf("%s does not say all: %+v", f.Name, f)
				}
			}
		})
	}
}

func TestNoMailIsSaidUnasked(t *testing.T) {
	s := server(talker{"MAIL": "", "RSET": "", "RCPT": "", "DATA": ""}.start(t))
	s.Mail = ""
	r := examine(t, s)
	if got := found(r); got != nil {
		t.Errorf("found %q", got)
	}
	if !slices.ContainsFunc(r.Untried, func(u Untried) bool {
		return strings.HasPrefix(u.Name, "null-sender: ") && strings.Contains(u.Why, "-mail")
	}) {
		t.Errorf("it does not say that it has not tried MAIL: %v", r.Untried)
	}
}

// A recorded connection keeps what is said on it.
type recorded struct {
	net.Conn
	said *strings.Builder
}

func (r recorded) Write(octets []byte) (int, error) {
	r.said.Write(octets)
	return r.Conn.Write(octets)
}

// record keeps what an examination says, by sessions.
func record(s *Server) (said *[]*strings.Builder) {
	dial := s.Dial
	said = new([]*strings.Builder)
	s.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		session := new(strings.Builder)
		*said = append(*said, session)
		return recorded{conn, session}, err
	}
	return said
}

func TestAnExaminationSaysNoMoreThanItMay(t *testing.T) {
	harmless := []string{"EHLO", "HELO", "NOOP", "HELP", "AUTH", "*", "STARTTLS", "QUIT"}
	for mail, may := range map[string][]string{"": harmless, "anna@example.com": append(harmless, "MAIL", "RSET")} {
		s := server(talker{"EHLO": "250-mail.example.com\r\n250-PIPELINING\r\n250-AUTH LOGIN\r\n250-DSN\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
			"AUTH": "334 VXNlcm5hbWU6\r\n", "*": "501 cancelled\r\n", "STARTTLS": "454 no\r\n"}.start(t))
		s.Mail = mail
		said := record(&s)
		examine(t, s)
		heard := map[string]bool{}
		for _, session := range *said {
			lines := strings.Fields(strings.ReplaceAll(session.String(), " ", "_"))
			for _, line := range lines {
				verb, _, _ := strings.Cut(strings.ToUpper(line), "_")
				if heard[verb] = true; !slices.Contains(may, verb) {
					t.Errorf("mail %q: it says %q", mail, line)
				}
			}
			if len(lines) == 0 || lines[len(lines)-1] != "QUIT" {
				t.Errorf("mail %q: a session does not end with QUIT: %q", mail, lines)
			}
		}
		for _, verb := range may {
			if verb != "HELO" && !heard[verb] {
				t.Errorf("mail %q: it does not say %s", mail, verb)
			}
		}
	}
}

func TestNothingIsSaidForAPassword(t *testing.T) {
	s := server(talker{"EHLO": "250-mail.example.com\r\n250-AUTH LOGIN NTLM\r\n250 8BITMIME\r\n",
		"AUTH": "334 VXNlcm5hbWU6\r\n", "*": "334 UGFzc3dvcmQ6\r\n"}.start(t))
	said := record(&s)
	if r := examine(t, s); r.Missed != "" {
		t.Errorf("an examination had no session: %s", r.Missed)
	}
	logins := 0
	for _, session := range *said {
		if _, behind, ok := strings.Cut(session.String(), "\r\n*\r\n"); ok {
			logins++
			if behind != "" {
				t.Errorf("it says %q where a password is due", behind)
			}
		}
	}
	if logins != 2 {
		t.Errorf("%d logins were begun", logins)
	}
}

func TestAReportSaysThatAServerTookNoMoreSessions(t *testing.T) {
	address, n := talker{}.start(t), 0
	refusing := talker{"greeting": "421 too many sessions\r\n"}.start(t)
	s := server(address)
	for _, after := range []int{0, 1} {
		n = 0
		s.Dial = func(context.Context) (net.Conn, error) {
			if n++; n > after {
				return net.Dial("tcp", refusing)
			}
			return net.Dial("tcp", address)
		}
		if r := examine(t, s); r.Missed == "" || r.Count(Fault) != 0 {
			t.Errorf("after %d: missed %q, found %q", after, r.Missed, found(r))
		}
	}
	if r := examine(t, server(address)); r.Missed != "" {
		t.Errorf("missed %q", r.Missed)
	}
}

func TestAServerThatTalksOnIsHeardForAWhile(t *testing.T) {
	for name, s := range map[string]talker{
		"lines": {"EHLO": strings.Repeat("250-again\r\n", 200_000)},
		"line":  {"EHLO": "250 " + strings.Repeat("x", 3<<20)},
		"junk":  {"greeting": strings.Repeat("junk\r\n", 300_000)},
	} {
		t.Run(name, func(t *testing.T) {
			r := examine(t, server(s.start(t)))
			for _, f := range r.Findings {
				if size := len(strings.Join(f.Seen, "")); size > 32<<10 {
					t.Errorf("%s has %d octets", f.Name, size)
				}
			}
			if r.Connections > maxConnections {
				t.Errorf("%d connections", r.Connections)
			}
		})
	}
}

func TestAServerThatHangsUpIsGivenUp(t *testing.T) {
	r := examine(t, server(talker{"NOOP": "", "HELP": "", "MAIL": "", "RSET": ""}.start(t)))
	if r.Connections > maxConnections {
		t.Errorf("%d connections", r.Connections)
	}
}

func TestAnExaminationEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := server(talker{}.start(t))
	s.Progress = func(name string, _, _ int) {
		if name == "second-ehlo" {
			cancel()
		}
	}
	if _, err := s.Examine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	s := server("")
	s.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("nobody listens") }
	if _, err := s.Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("got %v", err)
	}
}

//go:build linux

package real

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Sendmail starts a sendmail that accepts mail for every address from anybody, and
// keeps the mail in its queue. The sendmail offers STARTTLS if o.CA is not nil, and
// ignores other options than CA and Cert. It runs with another /etc/hosts that gives
// the machine's name a domain: without a domain, sendmail would wait a minute.
func Sendmail(t testing.TB, o Options) *Server {
	t.Helper()
	sendmail := Bin(t, "sendmail", "sendmail")
	needRoot(t, "sendmail")
	s := &Server{Addr: FreeAddr(), dir: Dir(t)}
	mkdirs(t, s.dir, 0, 0o700, "queue")
	host, port, _ := net.SplitHostPort(s.Addr)
	config := fmt.Sprintf(sendmailCF, host, port, s.dir)
	if o.CA != nil {
		certificate, key := o.certificate(t, host)
		config += fmt.Sprintf("O CACertFile=%s\nO ServerCertFile=%s\nO ServerKeyFile=%s\n", o.CA.File, certificate, key)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.dir, map[string]string{"sendmail.cf": config, "switch": "hosts files\naliases files\npasswd files\n",
		"hosts": fmt.Sprintf("127.0.0.1 localhost\n127.0.0.1 %[1]s.example.com %[1]s\n", name)})
	startApart(t, s.dir, map[string]string{"hosts": "/etc/hosts"}, sendmail, "-C", filepath.Join(s.dir, "sendmail.cf"), "-X", filepath.Join(s.dir, traffic), "-bD")
	Listening(t, s.Addr)
	return s
}

// traffic is the name of the file that sendmail writes with -X.
const traffic = "traffic"

// Traffic returns the dialogues that s has recorded so far by its option -X. s must be
// a sendmail.
func (s *Server) Traffic(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, traffic))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sendmailCF has one mailer for everything. It is never called, because the queue is not
// run.
const sendmailCF = `V10/Berkeley
Cwsendmail.example.com
DSsendmail.example.com
Djsendmail.example.com
O DaemonPortOptions=Family=inet, Name=MTA, Addr=%[1]s, Port=%[2]s
O QueueDirectory=%[3]s/queue
O DeliveryMode=queueonly
O SmtpGreetingMessage=$j Sendmail $v; $b
O EightBitMode=pass8
O Timeout.ident=0
O Timeout.resolver.retrans=1s
O ServiceSwitchFile=%[3]s/switch
O DefaultUser=8:8
O RunAsUser=root
O DontBlameSendmail=GroupWritableDirPathSafe,GroupReadableKeyFile,InsufficientEntropy
O PidFile=%[3]s/pid
O QueueLA=1000
O RefuseLA=1000
O MaxMessageSize=67108864
H?P?Return-Path: <$g>
HReceived: from $s by $j with $r id $i; $b
Troot
Pfirst-class=0
S3
R$* < $+ > $*	$2
R$+ @ $+	$@ $1 < @ $2 >
S0
R$*	$#relay $@ sendmail $: $1
S4
R$+ < @ $+ >	$@ $1 @ $2
Mlocal,	P=/bin/true, F=lsDFMAw5:/|@qPSXmn9, S=0, R=0, A=true
Mprog,	P=/bin/true, F=lsDFMoqeu9, S=0, R=0, A=true
Mrelay,	P=/bin/true, F=mDFMuXa8, S=0, R=0, A=true $u
`

package proxy_test

import (
	"bytes"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// repairing is one rule that mends replies.
func repairing(t *testing.T, repair func(*rewrite.Repair)) func(*proxy.Route) {
	t.Helper()
	book := rewrite.Book{Rules: []rewrite.Rule{{Name: "mend", Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
		return rewrite.Actions{Repair: repair}, nil
	}}}}
	rules, errs := book.Compile([]string{"mend"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return func(r *proxy.Route) { r.Rules = rules }
}

func TestARuleMendsRepliesThatEndWithLF(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("NOOP"), smtptest.Send("250-first\n250 second\n"), smtptest.Expect("QUIT"), smtptest.Send("221 bye\n"))
	client = append(client, smtptest.Say("NOOP"), smtptest.Expect("250-first", "250 second"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
		if b := r.Octets(); bytes.HasSuffix(b, []byte("\n")) && !bytes.Contains(b, []byte("\r")) {
			r.Replace(len(b), bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
		}
	}))
	wantEnd(t, c, "ok")
}

func TestARuleEndsAReplyWhoseLastLineDoesNotCome(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("NOOP"), smtptest.Send("250-all there is\r\n"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client = append(client, smtptest.Say("NOOP"), smtptest.Expect("250 all there is"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
		if b := r.Octets(); r.Quiet() < 50 {
			r.Wait(50)
		} else if bytes.HasPrefix(b, []byte("250-")) {
			made := bytes.Clone(b)
			made[3] = ' '
			r.Replace(len(b), made)
		}
	}))
	wantEnd(t, c, "ok")
}

func TestARuleDropsWhatNobodyHasAskedFor(t *testing.T) {
	for name, said := range map[string]string{
		"an empty line behind a reply": "250 ok\r\n\r\n", "the same yes once more": "250 ok\r\n250 ok\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server, client := through(0)
			server = append(server, smtptest.Expect("NOOP"), smtptest.Send(said), smtptest.Expect("RSET"), smtptest.Say("250 reset"),
				smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
			client = append(client, smtptest.Say("NOOP"), smtptest.Expect("250 ok"), smtptest.Say("RSET"), smtptest.Expect("250 reset"),
				smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
			c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
				if r.Awaited() == rewrite.VerbOther {
					r.Replace(len(r.Octets()), nil)
				}
			}))
			wantEnd(t, c, "ok")
		})
	}
}

func TestNoRepairMakesAYesOfARefusal(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("NOOP"), smtptest.Send("250-ok\r\n550 no\r\n"))
	client = append(client, smtptest.Say("NOOP"), smtptest.Expect("421 4.3.0 server broke the protocol"), smtptest.ExpectEnd())
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) { r.Replace(len(r.Octets()), []byte("250 ok\r\n")) }))
	wantEnd(t, c, "server-protocol")
}

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
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
		if r.Awaited() == rewrite.VerbNOOP {
			r.Replace(len(r.Octets()), []byte("250 ok\r\n"))
		}
	}))
	wantEnd(t, c, "server-protocol")
}

func TestARuleWaitsForMoreOfAnEHLOReplyThatLooksWhole(t *testing.T) {
	server := steps(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO client.example.com"),
		smtptest.Say("250 mail.example.com"), smtptest.Say("250 DSN"), smtptest.Say("250 SIZE"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client := steps(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO client.example.com"),
		smtptest.Expect("250-mail.example.com", "250-DSN", "250 SIZE"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
		switch b := r.Octets(); {
		case r.Awaited() != rewrite.VerbEHLO:
		case bytes.Count(b, []byte("\n")) < 3: // this rule knows how many there are; others wait for some quiet
			r.Wait(5000)
		default:
			joined := bytes.ReplaceAll(b, []byte("250 "), []byte("250-"))
			joined[bytes.LastIndex(joined, []byte("250-"))+3] = ' '
			if !bytes.Equal(joined, b) {
				r.Replace(len(b), joined)
			}
		}
	}))
	wantEnd(t, c, "ok")
}

func TestARuleGivesACodeItsBlank(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("AUTH PLAIN"), smtptest.Send("334\r\n"), smtptest.Expect("AGEAYg=="), smtptest.Say("235 ok"),
		smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client = append(client, smtptest.Say("AUTH PLAIN"), smtptest.Expect("334 "), smtptest.Say("AGEAYg=="), smtptest.Expect("235 ok"),
		smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	c := play(t, server, client, repairing(t, func(r *rewrite.Repair) {
		if string(r.Octets()) == "334\r\n" {
			r.Replace(5, []byte("334 \r\n"))
		}
	}))
	wantEnd(t, c, "ok")
}

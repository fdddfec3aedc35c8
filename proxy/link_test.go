package proxy

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
)

// roundTrip is what a question and its answer take on a long line.
const roundTrip = 50 * time.Millisecond

// A parcel is on its way along a line.
type parcel struct {
	octets []byte
	due    time.Time
}

// longLine joins two ends by a line on which octets take half a round trip.
func longLine() (near, far net.Conn) {
	near, nearEnd := tubes()
	far, farEnd := tubes()
	go carry(farEnd, nearEnd)
	go carry(nearEnd, farEnd)
	return near, far
}

// carry takes octets one way until there are no more. As on a real line, any
// number are under way at a time.
func carry(to, from *tube) {
	parcels := make(chan parcel, 100)
	go func() {
		defer close(parcels)
		for {
			octets := make([]byte, 4<<10)
			n, err := from.Read(octets)
			if err != nil {
				return
			}
			parcels <- parcel{octets[:n], time.Now().Add(roundTrip / 2)}
		}
	}()
	for p := range parcels {
		time.Sleep(time.Until(p.due))
		to.Write(p.octets)
	}
	to.CloseWrite()
}

// Time stands still but for the line here, so that it counts round trips.
func TestAGroupOfCommandsTakesOneRoundTripToTheServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		offers  string // the last keyword of the server's
		grouped bool   // the client waits for no reply before it has said DATA
		want    time.Duration
	}{
		{"a group, and a server that takes groups", "PIPELINING", true, 2},
		{"a group, and a server that takes one command at a time", "SIZE", true, 8},
		{"one command at a time, and a server that takes groups", "PIPELINING", false, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := farServer{offers: test.offers, done: make(chan error, 1)}
				m := &meeting{route: &Route{}, dial: far.dial}
				m.client = append(farHello(test.offers), m.since())
				m.client = append(m.client, envelopeSteps(test.grouped)...)
				m.client = append(m.client, smtptest.Send(farMessage), smtptest.Expect("250 taken"), m.until(),
					smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd())
				m.run(t)
				if err := <-far.done; err != nil {
					t.Errorf("server: %v", err)
				}
				if want := test.want * roundTrip; m.elapsed != want {
					t.Errorf("the message took %v, want %v, %d round trips", m.elapsed, want, test.want)
				}
			})
		})
	}
}

// farDialogue is the envelope of a message with five recipients, each command
// with its reply.
var farDialogue = [][2]string{
	{"MAIL FROM:<a@example.com>", "250 sender"},
	{"RCPT TO:<b@example.net>", "250 first"},
	{"RCPT TO:<c@example.net>", "250 second"},
	{"RCPT TO:<d@example.net>", "550 not the third"},
	{"RCPT TO:<e@example.net>", "250 fourth"},
	{"RCPT TO:<f@example.net>", "250 fifth"},
	{"DATA", "354 go ahead"},
}

const farMessage = "Subject: far\r\n\r\ntext\r\n.\r\n"

// farHello is the client's part of the dialogue before the envelope.
func farHello(offers string) []smtptest.Step {
	return steps(smtptest.Expect("220 mail.example.com ESMTP"), smtptest.Say("EHLO c.example.com"),
		smtptest.Expect("250-mail.example.com", "250 "+offers))
}

// envelopeSteps is the client's part of the envelope: the same commands and the
// same replies, whether it waits for each of them or not.
func envelopeSteps(grouped bool) []smtptest.Step {
	var all []smtptest.Step
	var commands, replies []string
	for _, line := range farDialogue {
		all = append(all, smtptest.Say(line[0]), smtptest.Expect(line[1]))
		commands, replies = append(commands, line[0]), append(replies, line[1])
	}
	if grouped {
		return steps(smtptest.Say(commands...), smtptest.Expect(replies...))
	}
	return all
}

// A farServer is at the end of a long line, and answers each command as it comes.
type farServer struct {
	offers string
	done   chan error
}

func (s *farServer) dial(context.Context, string) (net.Conn, error) {
	near, far := longLine()
	script := steps(smtptest.Say("220 mail.example.com ESMTP"), smtptest.Expect("EHLO c.example.com"),
		smtptest.Say("250-mail.example.com", "250 "+s.offers))
	for _, line := range farDialogue {
		script = append(script, smtptest.Expect(line[0]), smtptest.Say(line[1]))
	}
	script = append(script, smtptest.ExpectOctets(farMessage), smtptest.Say("250 taken"),
		smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	go func() {
		s.done <- smtptest.Play(far, day, script...)
		far.Close()
	}()
	return near, nil
}

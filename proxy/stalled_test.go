package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

func TestAServerThatStopsReadingIsToBlame(t *testing.T) {
	text := strings.Repeat("a line of text\r\n", 2<<20)
	data, dataClient := through(endOfData)
	chunks, chunksClient := hello("CHUNKING")
	chunks, chunksClient = addressed(chunks, chunksClient)
	bdat := fmt.Sprintf("BDAT %d LAST", len(text))
	made, madeClient := hello()
	madeClient[len(madeClient)-1] = smtptest.Expect("250-mail.example.com", "250-HELP", "250 CHUNKING")
	made, madeClient = addressed(made, madeClient)
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		sent           string
		rules          []string
	}{
		"DATA":           {data, dataClient, text + ".\r\n", []string{"standard"}},
		"BDAT":           {append(chunks, smtptest.Expect(bdat)), append(chunksClient, smtptest.Say(bdat)), text, []string{"standard"}},
		"BDAT made DATA": {append(made, smtptest.Expect("DATA"), smtptest.Say("354 go on")), append(madeClient, smtptest.Say(bdat)), text, []string{"bdat-to-data"}},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			s := startScripted(t, func(c net.Conn) error {
				err := plays(test.server...)(c)
				<-over
				return err
			})
			r := plainRoute(s)
			r.Rules = compile(t, test.rules...)
			r.Timeouts = proxy.Timeouts{Data: 3 * time.Second}
			_, dial := startProxy(t, r)
			act(t, dial, plays(append(test.client, smtptest.Send(test.sent), smtptest.Expect(lost), smtptest.ExpectEnd())...))
			close(over)
			s.wait(t)
			c := r.Observer.(*counts)
			wantEnd(t, c, "server-lost")
			wantCount(t, c, "message cut", 1)
			wantCount(t, c, "message accepted", 0)
			wantCount(t, c, "failed timeout", 1)
		})
	}
}

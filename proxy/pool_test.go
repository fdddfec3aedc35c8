package proxy_test

import (
	"testing"
)

// A client that keeps its session in a pool asks by NOOP, or RSET, whether it is still
// there, as often as it likes (lncrawl/lightnovel-crawler#3124).
func TestASessionInAPoolIsNotEnded(t *testing.T) {
	for _, verb := range []string{"NOOP", "RSET"} {
		server, client := hello()
		for range 300 {
			asked, clientAsked := says(verb, "250 ok")
			server, client = append(server, asked...), append(client, clientAsked...)
		}
		mail, clientMail := says("MAIL FROM:<a@example.com>", "250 ok")
		c := play(t, list(server, mail, quitServer), list(client, clientMail, quitClient), nil)
		wantEnd(t, c, "ok")
	}
}

package dialogues_test

import (
	"strings"
	"testing"
)

func TestALogOfIISHasCodesOfWhatItAnswered(t *testing.T) {
	const head = "#Fields: time c-ip cs-username cs-method cs-uri-query sc-status cs-bytes cs(Referer)\n"
	all := read(t, head+`10:00:00 192.0.2.7 - EHLO +sub2. 501 10 -
10:00:00 192.0.2.7 sub2 EHLO +sub2 250 9 -
10:00:01 192.0.2.8 other HELO +other 250 9 -
10:00:01 192.0.2.7 sub2 MAIL +FROM:<a+b@example.net>+SIZE=12 250 30 -
10:00:02 192.0.2.7 sub2 RCPT +TO:<b@example.com> 550 30 550+5.7.1+Unable+to+relay
10:00:02 192.0.2.7 sub2 RCPT +TO:<c@example.com> 250 30 -
10:00:03 192.0.2.7 sub2 DATA +<MAILabc@MAIL> 250 2560 -
10:00:03 192.0.2.7 sub2 EHLO +again 250 9 -
10:00:03 192.0.2.7 sub2 VRFY +x - 9 -
10:00:04 192.0.2.8 other QUIT - 240 9 -
10:00:04 192.0.2.8 - GET /index.html 200 9 -
10:00:04 192.0.2.8
`)
	const want = `S: 220 a greeting that was not recorded
C: EHLO sub2.
S: 501 a text that was not logged
C: EHLO sub2
S: 250 a text that was not logged
C: MAIL FROM:<a+b@example.net> SIZE=12
S: 250 a text that was not logged
C: RCPT TO:<b@example.com>
S: 550 5.7.1 Unable to relay
C: RCPT TO:<c@example.com>
S: 250 a text that was not logged
C: DATA
S: 354 a text that was not logged
~ message 2560 bytes
S: 250 a text that was not logged
`
	if len(all) != 3 || all[0].Greeted || linesOf(all[0]) != want {
		t.Fatalf("%d dialogues; the first is\n%s", len(all), linesOf(all[0]))
	}
	if got := linesOf(all[1]); !strings.HasSuffix(got, "C: QUIT\nS: 221 a text that was not logged\n") {
		t.Errorf("the second is\n%s", got)
	}
	if got := linesOf(all[2]); !strings.HasSuffix(got, "S: 250 a text that was not logged\nC: VRFY x\n") {
		t.Errorf("the third is\n%s", got)
	}
}

func TestJavaMailTellsOfTLSAndOfTheEnd(t *testing.T) {
	all := read(t, `DEBUG SMTP: trying to connect to host "a", port 465, isSSL true
220 a
EHLO b
250 a
AUTH LOGIN
334 VXNlcm5hbWU6
dXNlcg==
334 UGFzc3dvcmQ6
c2VjcmV0
535 no
DEBUG SMTP: EOF: [EOF]
DEBUG SMTP: trying to connect to host "a", port 465, isSSL false
220 a
HELO b
DEBUG SMTP: EOF: [EOF]
`)
	if len(all) != 2 || !all[0].InTLS || all[0].Settings["server_tls"] != "implicit" || all[1].InTLS {
		t.Fatalf("%+v", all)
	}
	if got := linesOf(all[0]); !strings.Contains(got, "C: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 535 no\n") {
		t.Errorf("the first is\n%s", got)
	}
	if got := linesOf(all[1]); got != "S: 220 a\nC: HELO b\n~ server lost\n" {
		t.Errorf("the second is\n%s", got)
	}
}

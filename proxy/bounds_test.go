package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

const (
	endlessOctets = 1 << 30
	// What is taken of it: the most that is read for the sake of a last reply,
	// and what the kernel holds.
	mostTaken = 64 << 20
	mostHeld  = 32 << 20 // of the heap, garbage and all
)

// pour sends a piece again and again, and gives how much was taken before the
// other side had enough, and the most that the heap held meanwhile.
func pour(conn net.Conn, piece []byte) (taken int, most uint64) {
	conn.SetWriteDeadline(time.Now().Add(patience))
	for next := 0; taken < endlessOctets; {
		n, err := conn.Write(piece)
		if taken += n; taken >= next || err != nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			next = taken + 1<<20
		}
		if err != nil {
			break
		}
	}
	return taken, most
}

// pouring is a part: steps, and then one piece again and again, which has to be
// stopped. What is heard meanwhile begins with hears.
func pouring(steps []smtptest.Step, piece, hears string, mostTaken int) part {
	return func(c net.Conn) error {
		if err := smtptest.Play(c, patience, steps...); err != nil {
			return err
		}
		heard := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(c)
			heard <- all
		}()
		octets := bytes.Repeat([]byte(piece), 64<<10/len(piece))
		begun := heap()
		taken, most := pour(c, octets)
		c.Close()
		got := <-heard
		switch {
		case taken > mostTaken:
			return fmt.Errorf("%d octets were taken", taken)
		case most > begun+mostHeld:
			return fmt.Errorf("the heap grew from %d to %d octets", begun, most)
		case !bytes.HasPrefix(got, []byte(hears)):
			return fmt.Errorf("heard %q, not %q", got, hears)
		}
		return nil
	}
}

func TestWhatHasNoEndIsStoppedAndNotHeld(t *testing.T) {
	const unending = "421 4.7.0 line without an end"
	greeted, greetedClient := through(0)
	helloed, helloedClient := through(1)
	asked, askedClient := asked(1)
	sasl, saslClient := says("AUTH PLAIN", "334 ")
	end := steps(smtptest.ExpectEnd())
	for name, test := range map[string]struct {
		pours          string
		server, client []smtptest.Step
		piece, hears   string
	}{
		"a first command":       {"client", list(greeted, end), greetedClient, "x", unending},
		"a command":             {"client", list(helloed, end), helloedClient, "x", unending},
		"blanks":                {"client", list(helloed, end), helloedClient, " ", unending},
		"NULs":                  {"client", list(helloed, end), helloedClient, "\x00", unending},
		"a SASL line":           {"client", list(helloed, sasl, end), list(helloedClient, saslClient), "x", unending},
		"lines that are none":   {"client", list(helloed, end), helloedClient, "\n", "500 "},
		"greeting in one line":  {"server", nil, nil, "220-x", "421 4.3.2 server not available"},
		"greeting of many":      {"server", nil, nil, "220-x\r\n", "421 4.3.2 server not available"},
		"reply in one line":     {"server", asked, askedClient, "250-x", broken},
		"reply of many":         {"server", asked, askedClient, "250-x\r\n", broken},
		"challenge in one line": {"server", list(helloed, steps(smtptest.Expect("AUTH NTLM"))), list(helloedClient, steps(smtptest.Say("AUTH NTLM"))), "334 x", broken},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := plays(test.server...), pouring(test.client, test.piece, test.hears, mostTaken)
			if test.pours == "server" {
				server = pouring(test.server, test.piece, "", mostTaken)
				client = plays(append(test.client, smtptest.Expect(test.hears), smtptest.ExpectEnd())...)
			}
			s := startScripted(t, server)
			_, dial := startProxy(t, plainRoute(s))
			act(t, dial, client)
			s.wait(t)
		})
	}
}

// What nobody takes is dropped for a while, and not for ever; and it is said whose
// fault that is.
func TestWhatNobodyTakesIsNotDroppedForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("moves four times 256 MiB")
	}
	server, client := hello()
	asked, asks := steps(smtptest.Expect("DATA"), smtptest.Say("354 go on")), steps(smtptest.Say("DATA"), smtptest.Expect("354 go on"))
	chunkServer, chunkClient := hello("CHUNKING")
	const bdat = "BDAT 2147483647 LAST"
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		change         func(*proxy.Route)
		hears, outcome string
	}{
		"a message that is too large": {list(server, asked), list(client, asks), func(r *proxy.Route) { r.Limits.MessageSize = 1000 },
			"552 5.3.4 a message may have 1000 octets here", "message-refused"},
		"a message to a server that hangs up": {list(server, asked, steps(smtptest.Expect("a line of text"), smtptest.Close())), list(client, asks), nil, lost, "server-lost"},
		"a chunk that was refused": {server, list(client, steps(smtptest.Say(bdat), smtptest.Expect("502 5.5.1 BDAT was not offered"))), nil,
			"421 4.3.0 what is being sent was refused long ago", "refused"},
		"a chunk to a server that hangs up": {list(chunkServer, steps(smtptest.Expect(bdat), smtptest.Close())), list(chunkClient, steps(smtptest.Say(bdat))), nil, lost, "server-lost"},
	} {
		t.Run(name, func(t *testing.T) { // not in parallel: the heap is everybody's
			s := startScripted(t, func(c net.Conn) error {
				err := plays(test.server...)(c)
				if test.outcome != "server-lost" {
					io.Copy(io.Discard, c) // it stays until it is left
				}
				return err
			})
			r := plainRoute(s)
			if test.change != nil {
				test.change(r)
			}
			_, dial := startProxy(t, r)
			act(t, dial, pouring(test.client, "a line of text\r\n", test.hears, 400<<20))
			s.wait(t)
			wantEnd(t, r.Observer.(*counts), test.outcome)
		})
	}
}

package dialogues_test

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"smtpshim/proxy/dialogues"
)

// A wire makes packets of connections.
type wire struct {
	t       testing.TB
	packets [][]byte
}

// A connection is one between 192.0.2.7:port and 192.0.2.25:25.
type connection struct {
	*wire
	port layers.TCPPort
	next [2]uint32 // sequence numbers of client and server
}

func (w *wire) connect(port int) *connection {
	c := &connection{wire: w, port: layers.TCPPort(port), next: [2]uint32{1000, 1 << 31}}
	c.send(0, "", func(tcp *layers.TCP) { tcp.SYN, tcp.ACK = true, false })
	c.next[0]++
	c.send(1, "", func(tcp *layers.TCP) { tcp.SYN = true })
	c.next[1]++
	return c
}

// packet is one from the client (0) or the server (1).
func (c *connection) packet(from int, payload string, change func(*layers.TCP)) []byte {
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(192, 0, 2, 7), DstIP: net.IPv4(192, 0, 2, 25)}
	tcp := &layers.TCP{SrcPort: c.port, DstPort: 25, Seq: c.next[from], Ack: c.next[1-from], ACK: true, Window: 65535}
	if from == 1 {
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		tcp.SrcPort, tcp.DstPort = tcp.DstPort, tcp.SrcPort
	}
	if change != nil {
		change(tcp)
	}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		c.t.Fatal(err)
	}
	ethernet := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ethernet, ip, tcp, gopacket.Payload(payload)); err != nil {
		c.t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

func (c *connection) send(from int, payload string, change func(*layers.TCP)) {
	c.packets = append(c.packets, c.packet(from, payload, change))
	c.next[from] += uint32(len(payload))
}

func (c *connection) close() {
	for _, from := range []int{0, 1} {
		c.send(from, "", func(tcp *layers.TCP) { tcp.FIN = true })
		c.next[from]++
	}
}

// say has the two say the lines of a text, as C: and S: tell.
func (c *connection) say(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		c.send(strings.Index("CS", line[:1]), strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(line[3:])+"\r\n", nil)
	}
}

func clock(n int) time.Time { return time.Unix(1_800_000_000, int64(n)*1e6) }

func (w *wire) pcap() []byte {
	var b bytes.Buffer
	p := pcapgo.NewWriter(&b)
	if err := p.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		w.t.Fatal(err)
	}
	for i, packet := range w.packets {
		if err := p.WritePacket(gopacket.CaptureInfo{Timestamp: clock(i), CaptureLength: len(packet), Length: len(packet)}, packet); err != nil {
			w.t.Fatal(err)
		}
	}
	return b.Bytes()
}

func (w *wire) pcapng() []byte {
	var b bytes.Buffer
	p, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, packet := range w.packets {
		if err := p.WritePacket(gopacket.CaptureInfo{Timestamp: clock(i), CaptureLength: len(packet), Length: len(packet)}, packet); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := p.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

const captured = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250-mail.example.com\\r\\n250 CHUNKING\nC: MAIL FROM:<a@example.net>\nS: 250 ok\n" +
	"C: RCPT TO:<b@example.com>\nS: 250 ok\nC: DATA\nS: 354 go on\nC: Subject: x\\r\\n\\r\\n..text\\r\\n.\nS: 250 queued\n" +
	"C: BDAT 11\\r\\nQUIT\\r\\n...\\r\\nBDAT 0 LAST\nS: 250 ok\nS: 250 ok\nC: QUIT\nS: 221 bye\n"

const capturedLines = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250-mail.example.com\nS: 250 CHUNKING\nC: MAIL FROM:<a@example.net>\nS: 250 ok\n" +
	"C: RCPT TO:<b@example.com>\nS: 250 ok\nC: DATA\nS: 354 go on\n~ message 22 bytes\nS: 250 queued\n" +
	"C: BDAT 11\n~ chunk 11 bytes\nC: BDAT 0 LAST\nS: 250 ok\nS: 250 ok\nC: QUIT\nS: 221 bye\n"

func TestACaptureHasDialogues(t *testing.T) {
	w := &wire{t: t}
	c := w.connect(4711)
	c.say(captured)
	c.close()
	for name, file := range map[string][]byte{"pcap": w.pcap(), "pcapng": w.pcapng(), "cut off": w.pcap()[:len(w.pcap())-70]} {
		all := read(t, string(file))
		if len(all) != 1 {
			t.Fatalf("%s: there are %d dialogues", name, len(all))
		}
		d := all[0]
		if got := linesOf(d); got != capturedLines || d.Source != dialogues.Capture || d.Name != "192.0.2.7:4711 to 192.0.2.25:25" || d.Settings["client"] != "192.0.2.7" {
			t.Errorf("%s: %s, %v:\n%s", name, d.Name, d.Settings, got)
		}
	}
}

// TestPacketsMayComeTwiceAndInAnyOrder swaps neighbours that one side sends, and repeats
// each packet.
func TestPacketsMayComeTwiceAndInAnyOrder(t *testing.T) {
	w := &wire{t: t}
	c := w.connect(4711)
	c.say("S: 220 mail.example.com ESMTP\n")
	parts := [][]byte{c.packet(0, "EHLO client.", nil)}
	c.next[0] += uint32(len("EHLO client."))
	parts = append(parts, c.packet(0, "example.net\r\n", nil))
	c.next[0] += uint32(len("example.net\r\n"))
	w.packets = append(w.packets, parts[1], parts[0], parts[0], parts[1])
	c.say("S: 250 mail.example.com\nC: QUIT\nS: 221 bye\n")
	c.close()
	all := read(t, string(w.pcap()))
	const want = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 mail.example.com\nC: QUIT\nS: 221 bye\n"
	if len(all) != 1 || linesOf(all[0]) != want {
		t.Errorf("it is told as %v", all)
	}
}

func TestACaptureMayHaveManyConnections(t *testing.T) {
	w := &wire{t: t}
	for port := range 50 {
		c := w.connect(10000 + port)
		switch port % 3 {
		case 0:
			c.say(captured)
		case 1:
			c.say("C: GET / HTTP/1.1\nS: HTTP/1.1 200 OK\n")
		case 2:
			c.say("S: 220 a\nC: EHLO b\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: \x16\x03\x01abc\nS: \x16\x03\x03abc\n")
		}
		if port%2 == 0 {
			c.close()
		}
	}
	clear, tls := 0, 0
	for _, d := range read(t, string(w.pcap())) {
		switch linesOf(d) {
		case capturedLines:
			clear++
		case "S: 220 a\nC: EHLO b\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n~ TLS\n":
			tls++
		default:
			t.Errorf("there is\n%s", linesOf(d))
		}
	}
	if clear != 17 || tls != 16 {
		t.Errorf("%d sessions in clear and %d with TLS", clear, tls)
	}
}

func FuzzRead(f *testing.F) {
	w := &wire{t: f}
	c := w.connect(4711)
	c.say(captured)
	c.close()
	f.Add(w.pcap())
	f.Add(w.pcapng())
	f.Add([]byte(delivery))
	f.Add([]byte("Nov 29 17:18:32 mail postfix/smtpd[1]: > a[192.0.2.7]: 220 mail.example.com\nsend: b'a\\x'\n2026-11-29T17:18:32.000Z,a,b,0,c,d,>,220 a,\n"))
	f.Add([]byte("Connecting to a\n  SMTP<< 250-a\n         250 b\n<** 500\n -> BDAT 99999999999999999999\n"))
	f.Add([]byte("#Fields: c-ip cs-username cs-method cs-uri-query sc-status\n192.0.2.1 - DATA <x 250\n192.0.2.1 OutboundConnectionResponse - 250-+ 0\n"))
	f.Add([]byte("DEBUG SMTP: trying to connect to host \"a\", port 25, isSSL true\n220 a\nAUTH LOGIN\n334 \nx\nDATA\n354 \nDEBUG SMTP: EOF: \n.\nQUIT\n221\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := dialogues.Read("x", bytes.NewReader(data), func(d *dialogues.Dialogue) error {
			if len(d.Dialogue) == 0 && d.Source != dialogues.Transcript {
				t.Error("a dialogue without a line")
			}
			for _, l := range d.Dialogue {
				if strings.Contains(l.Text, "\n") {
					t.Errorf("%q is more than a line", l.Text)
				}
			}
			return nil
		})
		_ = err // any file may be wrong
	})
}

// TestASectionMayBeginAnywhereInAFile puts the head of a section at the end of what is
// read at once.
func TestASectionMayBeginAnywhereInAFile(t *testing.T) {
	w := &wire{t: t}
	c := w.connect(4711)
	c.say(captured)
	c.close()
	first := (&wire{t: t}).pcapng()
	names := func(octets int) []byte { return block(4, make([]byte, octets-12)...) }
	if all := read(t, string(slices.Concat(first, names(64<<10-8-len(first)), w.pcapng(), names(64<<10)))); len(all) != 1 || linesOf(all[0]) != capturedLines {
		t.Errorf("it is told as %v", all)
	}
}

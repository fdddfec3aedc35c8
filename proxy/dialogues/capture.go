package dialogues

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"

	"smtpshim/rewrite/transcript"
)

// isCapture reports whether a file is a capture, by its first octets: pcap in either byte
// order and with either unit of time, or pcapng.
func isCapture(start []byte) bool {
	if len(start) < 4 {
		return false
	}
	switch binary.BigEndian.Uint32(start) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1, 0x0a0d0d0a:
		return true
	}
	return false
}

// The limits for a capture.
const (
	maxPacket      = 256 << 10 // octets
	maxPages       = 4096      // pages of 2 KiB with octets that await others before them
	maxConnections = 4096      // open at the same time
	maxHeld        = 8 << 20   // octets of what open connections have said
	maxInterfaces  = 1 << 20   // octets of the interface descriptions in a section of a pcapng file
	quiet          = 10 * time.Minute
)

// packets is the interface of the readers of both formats.
type packets interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func openCapture(in *bufio.Reader) (packets, error) {
	if start, _ := in.Peek(4); bytes.Equal(start, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		return pcapgo.NewNgReader(&blocks{in: in}, pcapgo.DefaultNgReaderOptions)
	}
	r, err := pcapgo.NewReader(in)
	if err == nil {
		r.SetSnaplen(maxPacket)
	}
	return r, err
}

// readCapture reads the dialogues of a capture, and calls then with each.
func readCapture(in *bufio.Reader, then func(*Dialogue) error) error {
	from, err := openCapture(in)
	if err != nil {
		return fmt.Errorf("reading the capture: %w", err)
	}
	c := &capture{then: then}
	pool := reassembly.NewStreamPool(c)
	c.assembler = reassembly.NewAssembler(pool)
	c.assembler.MaxBufferedPagesTotal, c.assembler.MaxBufferedPagesPerConnection = maxPages, maxPages/64
	for n := 1; c.err == nil; n++ {
		data, info, err := from.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break // the capture may be cut off
		}
		if err != nil {
			return fmt.Errorf("reading packet %d of the capture: %w", n, err)
		}
		c.packet(data, info, from.LinkType())
		if n%10_000 == 0 {
			c.assembler.FlushCloseOlderThan(info.Timestamp.Add(-quiet))
		}
		if c.connections > maxConnections || c.held > maxHeld {
			c.assembler.FlushAll()
		}
	}
	c.assembler.FlushAll()
	return c.err
}

// A capture is a capture that is being read.
type capture struct {
	assembler   *reassembly.Assembler
	then        func(*Dialogue) error
	connections int
	held        int   // octets that open connections hold
	texts       int   // octets of messages that are kept
	err         error // the first error of then
}

// packet handles a packet. It ignores packets that are not TCP over IP.
func (c *capture) packet(data []byte, info gopacket.CaptureInfo, link layers.LinkType) {
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	network := p.NetworkLayer()
	if network == nil {
		return
	}
	tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		return
	}
	c.assembler.AssembleWithContext(network.NetworkFlow(), tcp, at(info))
}

// An at is the time of capture of a packet, in the form that the assembler needs.
type at gopacket.CaptureInfo

func (a at) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(a) }

// New returns the stream that takes the octets of a new connection. The assembler calls
// New at the first packet of each connection.
func (c *capture) New(network, transport gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	c.connections++
	from := func(address, port gopacket.Endpoint) string { return net.JoinHostPort(address.String(), port.String()) }
	return &stream{capture: c, ends: [2]string{from(network.Src(), transport.Src()), from(network.Dst(), transport.Dst())}}
}

// A stream is one connection. The assembler passes its octets in order.
type stream struct {
	capture *capture
	ends    [2]string // the end that opened the connection, or sent the first captured packet, and the other one
	session *session  // nil: nobody has said anything yet
	server  int       // the index of the server in ends
	halves  [2][]byte // the beginning of a line from each end
	held    int       // octets held by session and halves
	skip    int64     // octets of a chunk of the client that are still to come
	useless bool      // the connection is not SMTP, or can no longer be read
}

// Accept accepts all packets, also of a connection whose beginning was not captured.
func (s *stream) Accept(_ *layers.TCP, _ gopacket.CaptureInfo, _ reassembly.TCPFlowDirection, _ reassembly.Sequence, start *bool, _ reassembly.AssemblerContext) bool {
	*start = true
	return true
}

// ReassembledSG takes the next octets of one direction of the connection. If a packet
// is missing between the octets before and these, the rest of the connection is
// ignored.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	if s.useless || s.capture.err != nil {
		return
	}
	direction, _, _, skipped := sg.Info()
	side := 0
	if direction == reassembly.TCPDirServerToClient {
		side = 1
	}
	if skipped > 0 { // the capture lacks a packet
		s.useless = true
		return
	}
	n, _ := sg.Lengths()
	s.octets(side, sg.Fetch(n))
	s.hold()
}

// hold updates the count of octets that the connection holds.
func (s *stream) hold() {
	before := s.held
	s.held = cap(s.halves[0]) + cap(s.halves[1])
	if s.session != nil {
		s.held += s.session.cost
	}
	s.capture.held += s.held - before
}

// ReassemblyComplete passes on the dialogue of the connection, if there is one. The
// assembler calls it when no more octets will come for s. The result is always true, so
// that the assembler forgets the connection.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool {
	c := s.capture
	c.connections--
	c.held -= s.held
	if s.session == nil || c.err != nil {
		return true
	}
	if d := s.session.end(); d != nil {
		c.err = c.then(d)
	}
	s.session = nil
	return true
}

// octets splits octets of one side into lines.
func (s *stream) octets(side int, octets []byte) {
	if s.session == nil && len(octets) > 0 && !s.begin(side, octets) {
		s.useless = true
	}
	for len(octets) > 0 && !s.useless {
		if side != s.server && s.skip > 0 {
			n := min(s.skip, int64(len(octets)))
			s.skip -= n
			octets = octets[n:]
			continue
		}
		end := bytes.IndexByte(octets, '\n')
		if end < 0 {
			s.halves[side] = appended(s.halves[side], octets)
			return
		}
		line := appended(s.halves[side], octets[:end])
		s.halves[side], octets = s.halves[side][:0], octets[end+1:]
		text, crlf := bytes.CutSuffix(line, []byte("\r"))
		if s.session.eol = "\r\n"; !crlf {
			s.session.eol = "\n"
		}
		s.line(side, string(text))
	}
}

// appended appends octets to a line, up to the length of the longest line.
func appended(line, octets []byte) []byte {
	return append(line, octets[:min(len(octets), maxLine-len(line))]...)
}

// begin examines the first octets of a connection. It returns false if they are not SMTP.
func (s *stream) begin(side int, octets []byte) bool {
	line, _, _ := bytes.Cut(octets, []byte("\n"))
	text := string(bytes.TrimSuffix(line, []byte("\r")))
	switch {
	case isReply(text) && (text[0] == '2' || text[0] >= '4'):
		s.server = side
	case isHello(text):
		s.server = 1 - side
	default:
		return false
	}
	client, server := s.ends[1-s.server], s.ends[s.server]
	s.session = newSession(Capture, client+" to "+server, &s.capture.texts)
	if a, err := netip.ParseAddrPort(client); err == nil {
		s.session.set("client", a.Addr().Unmap().String())
	}
	return true
}

// isHello reports whether a line is a hello.
func isHello(text string) bool {
	verb, _, _ := bytes.Cut(bytes.ToUpper([]byte(text)), []byte(" "))
	return bytes.Equal(verb, []byte("EHLO")) || bytes.Equal(verb, []byte("HELO")) || bytes.Equal(verb, []byte("LHLO"))
}

// line handles a line of one side.
func (s *stream) line(side int, text string) {
	if side != s.server {
		inText := s.session.inText
		s.session.client(text)
		if n, ok := chunkSize(text); ok && !inText {
			s.skip = n
		}
		return
	}
	s.session.server(text)
	if s.session.tls > 0 { // what follows is encrypted
		s.session.add(transcript.Line{Text: "TLS"})
		s.useless = true
	}
}

// blocks limits the size of the blocks of a pcapng file. It skips blocks that are neither
// packets nor needed to read one. Each block begins with its type and its length
// (draft-ietf-opsawg-pcapng, 3.1).
type blocks struct {
	in         *bufio.Reader
	rest       int // octets of the present block that are still to be read
	big        bool
	interfaces int // octets of interface descriptions in the section
}

// The types of blocks that are needed.
const (
	sectionHeader  = 0x0a0d0d0a
	ofInterface    = 1
	oldPacket      = 2
	simplePacket   = 3
	enhancedPacket = 6
)

func (b *blocks) Read(p []byte) (int, error) {
	for b.rest == 0 {
		head, err := b.in.Peek(8)
		if err != nil {
			if len(head) > 0 {
				return b.in.Read(p[:min(len(p), len(head))])
			}
			return 0, err
		}
		if err := b.begin(head); err != nil {
			return 0, err
		}
	}
	n, err := b.in.Read(p[:min(len(p), b.rest)])
	b.rest -= n
	return n, err
}

// begin handles the head of a block, and skips the block if it is not needed.
func (b *blocks) begin(head []byte) error {
	if binary.BigEndian.Uint32(head) == sectionHeader { // a palindrome, so the byte order does not matter
		section, err := b.in.Peek(12)
		if err != nil {
			return err
		}
		head, b.big, b.interfaces = section, section[8] == 0x1a, 0
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if b.big {
		order = binary.BigEndian
	}
	length := order.Uint32(head[4:])
	if length < 12 || length > 2*maxPacket {
		return fmt.Errorf("a block of %d octets; it may have from 12 to %d", length, 2*maxPacket)
	}
	needed := false
	switch order.Uint32(head) {
	case sectionHeader, oldPacket, simplePacket, enhancedPacket:
		needed = true
	case ofInterface:
		const costs = 256 // in addition to its texts
		b.interfaces += costs + int(length)
		needed = b.interfaces <= maxInterfaces
	}
	if !needed {
		_, err := b.in.Discard(int(length))
		return err
	}
	b.rest = int(length)
	return nil
}

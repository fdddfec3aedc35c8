package header

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// binaryHeader is a header of version 2 with the right length.
func binaryHeader(command, family byte, rest string) string {
	return Signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

// Addresses and ports: 192.0.2.7 from port 56324 to 198.51.100.1, 25, and
// 2001:db8::7 from port 1 to 2001:db8::1, 25.
const (
	tcp4 = "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x00\x19"
	tcp6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x19"
)

var (
	binaryTCP4 = binaryHeader(commandProxy, familyTCP4, tcp4)
	binaryTCP6 = binaryHeader(commandProxy, familyTCP6, tcp6)
	// summed has its checksum between two other values, of which one is empty.
	summed = withChecksum(binaryHeader(commandProxy, familyTCP4, tcp4+"\xe0\x00\x00"+"\x03\x00\x04\x00\x00\x00\x00"+"\x01\x00\x02h2"), 16+12+3+3)
)

// withChecksum puts the checksum of a header into its place.
func withChecksum(header string, at int) string {
	b := []byte(header)
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

func TestABinaryHeaderThatIsRightGivesTheEnds(t *testing.T) {
	known4, known6 := [2]string{"192.0.2.7:56324", "198.51.100.1:25"}, [2]string{"[2001:db8::7]:1", "[2001:db8::1]:25"}
	mapped := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff" + tcp4[:4] + tcp6[16:]
	for header, want := range map[string][2]string{
		binaryTCP4: known4,
		binaryTCP6: known6,
		binaryHeader(commandProxy, familyTCP6, mapped): {"192.0.2.7:1", "[2001:db8::1]:25"},
		summed: known4,
		binaryHeader(commandProxy, familyTCP4, tcp4+"\xee\x00\x05value\x04\x00\x01 "):                                   known4,
		binaryHeader(commandProxy, familyTCP6, tcp6+"\x20\x03\xe8"+strings.Repeat("c", 1000)):                           known6,
		binaryHeader(commandProxy, familyTCP4, tcp4+"\x04\x0f\xe1"+strings.Repeat(" ", maxBinaryHeader-fixedHeader-15)): known4,
		// not known, or the balancer's own: what follows is not looked at
		binaryHeader(commandLocal, familyNone, ""):                                               {},
		binaryHeader(commandLocal, familyTCP4, tcp4):                                             {},
		binaryHeader(commandLocal, familyTCP4, "too short"):                                      {},
		binaryHeader(commandLocal, 0xff, "\x03\x00\x04none"):                                     {},
		binaryHeader(commandProxy, familyNone, ""):                                               {},
		binaryHeader(commandProxy, familyNone, "\x04\x00\x00"):                                   {},
		binaryHeader(commandProxy, familyUnix, strings.Repeat("u", 216)):                         {},
		withChecksum(binaryHeader(commandProxy, familyNone, "\x03\x00\x04\x00\x00\x00\x00"), 19): {},
	} {
		wantEnds(t, header, want)
	}
}

func TestABinaryHeaderThatIsWrongIsRefused(t *testing.T) {
	for _, said := range []string{
		// not all of it
		"\r", "\r\n\r\n", Signature, Signature + "\x21\x11\x00", binaryTCP4[:16], binaryTCP4[:len(binaryTCP4)-1],
		// another Signature, version, command, family or protocol
		"\r\n\r\nEHLO x\r\n", strings.Replace(binaryTCP4, "QUIT\n", "QUIT\r", 1), strings.ToLower(binaryTCP4),
		binaryHeader(0x11, familyTCP4, tcp4), binaryHeader(0x31, familyTCP4, tcp4), binaryHeader(0x22, familyTCP4, tcp4), binaryHeader(0x2f, familyTCP4, tcp4),
		binaryHeader(commandProxy, 0x10, tcp4), binaryHeader(commandProxy, 0x12, tcp4), binaryHeader(commandProxy, 0x13, tcp4),
		binaryHeader(commandProxy, 0x22, tcp6), binaryHeader(commandProxy, 0x32, strings.Repeat("u", 216)), binaryHeader(commandProxy, 0x41, tcp4),
		binaryHeader(commandProxy, 0x01, ""),
		// addresses that are cut off
		binaryHeader(commandProxy, familyTCP4, ""), binaryHeader(commandProxy, familyTCP4, tcp4[:11]), binaryHeader(commandProxy, familyTCP6, tcp4),
		binaryHeader(commandProxy, familyUnix, tcp6),
		// too long
		Signature + "\x21\x11\xff\xff" + strings.Repeat("x", 1<<16), Signature + "\x20\x00\xff\xff" + strings.Repeat("x", 1<<16),
		binaryHeader(commandProxy, familyTCP4, tcp4+"\x04\x0f\xe2"+strings.Repeat(" ", maxBinaryHeader-fixedHeader-14)),
		// values that are cut off
		binaryHeader(commandProxy, familyTCP4, tcp4+"x"), binaryHeader(commandProxy, familyTCP4, tcp4+"\x04\x00"),
		binaryHeader(commandProxy, familyTCP4, tcp4+"\x04\x00\x02x"), binaryHeader(commandProxy, familyNone, "\xee\xff\xff"),
		// a checksum that is wrong, of a wrong size, or of something else
		binaryHeader(commandProxy, familyTCP4, tcp4+"\x03\x00\x04\x00\x00\x00\x00"), binaryHeader(commandProxy, familyTCP4, tcp4+"\x03\x00\x00"),
		binaryHeader(commandProxy, familyTCP4, tcp4+"\x03\x00\x05\x00\x00\x00\x00\x00"),
		strings.Replace(summed, "\xc0\x00\x02\x07", "\xc0\x00\x02\x08", 1), strings.Replace(summed, "h2", "h3", 1),
	} {
		wantNoHeader(t, said, maxBinaryHeader)
	}
}

// checkBinaryEnds compares what a header of version 2 gave with what it says.
func checkBinaryEnds(t *testing.T, read []byte, got Ends) {
	size := map[byte]int{familyTCP4: 4, familyTCP6: 16}[read[13]]
	if int(binary.BigEndian.Uint16(read[14:]))+16 != len(read) || read[12] != commandLocal && read[12] != commandProxy {
		t.Fatalf("%q was taken for a header", read)
	}
	want := Ends{}
	if size > 0 && read[12] == commandProxy {
		b := read[16:]
		client, _ := netip.AddrFromSlice(b[:size])
		destination, _ := netip.AddrFromSlice(b[size : 2*size])
		want.Client = netip.AddrPortFrom(client.Unmap(), binary.BigEndian.Uint16(b[2*size:]))
		want.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(b[2*size+2:]))
	}
	if got != want {
		t.Fatalf("%q gave %v, want %v", read, got, want)
	}
}

func TestAHeaderThatIsSentIsReadAgain(t *testing.T) {
	for _, want := range [][2]string{
		{"192.0.2.7:56324", "198.51.100.1:25"},
		{"192.0.2.7:0", "198.51.100.1:65535"},
		{"[2001:db8::7]:1", "[2001:db8::1]:25"},
		{"192.0.2.7:1", "[2001:db8::1]:25"}, // as TCP6, the one mapped into the other's family
		{"[2001:db8::7]:1", "192.0.2.8:25"},
		{},
	} {
		for _, version := range []Version{V1, V2} {
			header, err := wantedEnds(want).format(version)
			if err != nil {
				t.Fatal(err)
			}
			wantEnds(t, string(header), want)
		}
	}
}

func TestTheServerIsToldOfTheClientWhateverElseIsUnknown(t *testing.T) {
	for client, want := range map[string]string{
		"192.0.2.7:1": "PROXY TCP4 192.0.2.7 0.0.0.0 1 0\r\n", "[2001:db8::7]:1": "PROXY TCP6 2001:db8::7 :: 1 0\r\n",
		"[fe80::7%eth0]:1": "PROXY TCP6 fe80::7 :: 1 0\r\n",
	} {
		got, err := Ends{Client: netip.MustParseAddrPort(client)}.format(V1)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", client, got, err)
		}
	}
}

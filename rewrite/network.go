package rewrite

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseNetwork returns the network that text names, such as 192.0.2.0/24. If text is an
// address, the network has that address alone. A network of IPv4-mapped IPv6 addresses
// becomes the IPv4 network. An address with bits beyond the mask is an error.
func ParseNetwork(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if err != nil {
		return p, fmt.Errorf("%q is not a network; %s", text, hintNetwork(text))
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits beyond its mask; write %q", text, p.Masked())
	}
	return p, nil
}

// hintNetwork returns what to write in place of text, which is not a network.
func hintNetwork(text string) string {
	if first, last, ok := addressRange(text); ok {
		return writeRange(first, last)
	}
	if address, bits, ok := strings.Cut(text, "/"); ok {
		ip, err := netip.ParseAddr(address)
		mask, isMask := maskBits(bits)
		switch {
		case err != nil || ip.Zone() != "":
		case ip.Is4() && isMask:
			return fmt.Sprintf("write %q", netip.PrefixFrom(ip, mask).Masked())
		case ip.Is4():
			return "the number of bits behind the slash of an IPv4 network is 0 to 32"
		default:
			return "the number of bits behind the slash of an IPv6 network is 0 to 128"
		}
	}
	return `write for example "192.0.2.0/24" or "2001:db8::/32"`
}

// maskBits returns the number of bits of a network mask such as 255.255.255.0.
func maskBits(text string) (bits int, ok bool) {
	mask, err := netip.ParseAddr(text)
	if err != nil || !mask.Is4() {
		return 0, false
	}
	for bits = range 33 {
		if netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), bits).Masked().Addr() == mask {
			return bits, true
		}
	}
	return 0, false
}

// addressRange parses a range such as 192.0.2.64-192.0.2.80 or 192.0.2.64-80.
func addressRange(text string) (first, last netip.Addr, ok bool) {
	begin, end, _ := strings.Cut(text, "-")
	begin, end = strings.TrimSpace(begin), strings.TrimSpace(end)
	first, err := netip.ParseAddr(begin)
	if err != nil || first.Zone() != "" {
		return first, last, false
	}
	if _, err := strconv.ParseUint(end, 10, 8); err == nil && first.Is4() {
		end = begin[:strings.LastIndexByte(begin, '.')+1] + end
	}
	last, err = netip.ParseAddr(end)
	first, last = first.Unmap(), last.Unmap()
	return first, last, err == nil && last.Zone() == "" && first.Is4() == last.Is4() && first.Compare(last) <= 0
}

// writeRange returns a hint that has the networks with the addresses first to last and no
// others. If there are very many, it has the smallest network with all of them instead.
func writeRange(first, last netip.Addr) string {
	const most = 16
	var list []string
	for n := first; ; {
		p := netip.PrefixFrom(n, n.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(n, p.Bits()-1)
			if wider != wider.Masked() || lastOf(wider).Compare(last) > 0 {
				break
			}
			p = wider
		}
		text := p.String()
		if p.IsSingleIP() {
			text = n.String()
		}
		list = append(list, strconv.Quote(text))
		end := lastOf(p)
		if end == last {
			return "write " + strings.Join(list, ", ")
		}
		n = end.Next()
		if len(list) > most {
			break
		}
	}
	p := netip.PrefixFrom(first, first.BitLen())
	for !p.Contains(last) {
		p = netip.PrefixFrom(first, p.Bits()-1).Masked()
	}
	return fmt.Sprintf("it takes more than %d networks; a single one with these addresses, and others, is %q", most, p)
}

// lastOf returns the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	octets := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(octets)*8; bit++ {
		octets[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(octets)
	return last
}

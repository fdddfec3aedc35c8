//go:build !race

package wire

// rawOctets is up to how many octets a socket is read and written without telling
// the runtime, which else gives the processor to another thread if the call takes
// the 20 microseconds that the kernel's TCP often does, and has one thread more
// to look out for that: a tenth of a short session. The sockets do not block, so no
// call takes longer than it takes to move as much; what is more is worth telling.
const rawOctets = 64 << 10

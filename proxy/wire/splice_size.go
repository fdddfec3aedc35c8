package wire

// SplicePipeSize is the largest number of octets that a SplicePipe holds. The kernel
// may give it less room.
const SplicePipeSize = 1 << 20

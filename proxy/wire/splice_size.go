package wire

// SplicePipeSize is how many octets a SplicePipe may hold.
const SplicePipeSize = 1 << 20

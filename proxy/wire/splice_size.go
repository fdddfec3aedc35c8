package wire

// conduitSize is what a conduit may hold, and the least that is worth one.
const SplicePipeSize = 1 << 20

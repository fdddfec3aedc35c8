package proxy

// conduitSize is what a conduit may hold, and the least that is worth one.
const conduitSize = 1 << 20

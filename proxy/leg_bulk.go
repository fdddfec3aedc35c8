package proxy

import "time"

// bulk has the kernel move what comes in such amounts that it pays.
type bulk struct {
	conduit *conduit // nil: it does not pay now, or none is to be had
}

// pass moves what the last fill has read, in one write, and says how the next is
// to read.
func (b *bulk) pass(to, from *leg, allowed time.Duration) (moved bool, err error) {
	if from.into != nil {
		if from.took == 0 {
			return false, nil
		}
		err := to.writeConduit(b.conduit, allowed)
		if from.took < smallBuffer { // a stretch that may be idle soon keeps no pipe
			b.end(from)
		}
		from.took = 0
		return true, err
	}
	octets := from.buffered()
	if len(octets) == 0 {
		return false, nil
	}
	if err := to.write(octets, allowed); err != nil {
		return false, err
	}
	from.consume(len(octets))
	if len(octets) < smallBuffer || !to.canSplice() || !from.canSplice() {
		return true, nil
	}
	b.conduit, _ = newConduit()
	from.divert(b.conduit, conduitSize)
	return true, nil
}

func (b *bulk) end(from *leg) {
	from.divert(nil, 0)
	if b.conduit != nil {
		b.conduit.close()
		b.conduit = nil
	}
}

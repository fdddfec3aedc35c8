package wire

import "time"

// Bulk moves octets one way between two legs, within the kernel when that pays. The zero
// value is ready to use.
type Bulk struct {
	pipe *SplicePipe // nil: it does not pay now, or none is to be had
}

// Pass writes what the last Fill of from has read, in one write, and decides how the next
// one reads. It reports whether there was anything.
func (b *Bulk) Pass(to, from *Leg, allowed time.Duration) (moved bool, err error) {
	if from.into != nil {
		if from.took == 0 {
			return false, nil
		}
		err := to.WritePipe(b.pipe, allowed)
		if from.took < SmallBuffer { // a stretch that may be idle soon keeps no pipe
			b.End(from)
		}
		from.took = 0
		return true, err
	}
	octets := from.Buffered()
	if len(octets) == 0 {
		return false, nil
	}
	if err := to.Write(octets, allowed); err != nil {
		return false, err
	}
	from.Consume(len(octets))
	if len(octets) < SmallBuffer || !to.CanSplice() || !from.CanSplice() {
		return true, nil
	}
	b.pipe, _ = NewSplicePipe()
	from.Divert(b.pipe, SplicePipeSize)
	return true, nil
}

// End must be called when nothing more is passed from the leg.
func (b *Bulk) End(from *Leg) {
	from.Divert(nil, 0)
	if b.pipe != nil {
		b.pipe.Close()
		b.pipe = nil
	}
}

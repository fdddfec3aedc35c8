package wire

import "time"

// Bulk moves octets one way between two legs, within the kernel when that pays. The zero
// value is ready to use.
type Bulk struct {
	pipe *SplicePipe // nil: it does not pay now, or none is to be had
}

// Pass writes the octets that the last Fill of from has read to the leg to, in one write.
// allowed limits the time that the write may wait for room. moved is false if there were
// no octets, or if a write from the buffer failed. Pass also chooses whether the next Fill
// of from reads into a pipe, see Leg.Divert.
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

// End ends the use of a pipe, so that Fill of from reads into the buffer again. It must be
// called when Pass is not called any more for from.
func (b *Bulk) End(from *Leg) {
	from.Divert(nil, 0)
	if b.pipe != nil {
		b.pipe.Close()
		b.pipe = nil
	}
}

package wire

import "time"

// Bulk moves octets from one leg to another. If both are plain sockets and much arrives
// at once, it moves them within the kernel, through a SplicePipe. The zero value is
// ready to use.
type Bulk struct {
	pipe *SplicePipe // nil: it does not pay now, or none is to be had
}

// Pass takes what the last Fill of from has read, and writes it to the leg named to.
// allowed limits the time that the write may wait for room. moved reports whether there
// was anything to write; it has no meaning if err is not nil. Pass also chooses whether
// the next Fill of from reads into the buffer or into a SplicePipe.
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

// End makes from.Fill read into the buffer again, and closes the pipe if there is one.
// It must be called after the last call of Pass with from.
func (b *Bulk) End(from *Leg) {
	from.Divert(nil, 0)
	if b.pipe != nil {
		b.pipe.Close()
		b.pipe = nil
	}
}

//go:build !linux

package proxy

import (
	"errors"
	"time"
)

// A lot is where idle sessions wait on Linux. Here there is none, and each waits
// on its goroutine.
type lot struct{}

func newLot() (*lot, error) { return nil, errors.ErrUnsupported }

func (*lot) park(*session, [2]int32, time.Time) bool { return false }
func (*lot) leaveAll()                               {}
func (*lot) close()                                  {}

//go:build !linux

package main

import (
	"context"
	"os"
)

// upgradeSignals is empty: upgrades are for Linux.
var upgradeSignals []os.Signal

type (
	upgrade struct {
		next *successor
		err  error
	}
	successor   struct{}
	predecessor struct{}
)

func (p *instance) upgrade(context.Context) <-chan upgrade { return nil }
func (p *instance) handOver(*successor, bool)              {}
func (s *successor) end()                                  {}
func (s *successor) lost() <-chan error                    { return nil }
func (b *predecessor) relieve()                            {}

// fromPredecessor returns nil, because there are no upgrades.
func fromPredecessor() (*predecessor, map[string][]*os.File, error) { return nil, nil, nil }

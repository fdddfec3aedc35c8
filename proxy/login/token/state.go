package token

import (
	"context"
	"path/filepath"
)

type rotation struct{}

func (s Settings) stateFile() string { return filepath.Join(s.StateDir, s.Account+".token") }

func (s *Source) refreshed(ctx context.Context) (grant, *Error) {
	return grant{}, s.settings.fault(Local, errNotBuilt)
}

func (s *Source) commanded(ctx context.Context) (grant, *Error) {
	return grant{}, s.settings.fault(Local, errNotBuilt)
}

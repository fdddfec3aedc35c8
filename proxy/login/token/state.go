package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A stored is the content of Account.token. It names the endpoint and application of the
// refresh token, so that the token is sent to no other after a change of the
// configuration.
type stored struct {
	RefreshToken string    `json:"refresh_token"`
	ClientID     string    `json:"client_id"`
	TokenURL     string    `json:"token_url"`
	Written      time.Time `json:"written"` // for people; never compared
}

func (s Settings) stateFile() string { return filepath.Join(s.StateDir, s.Account+".token") }

// lockFile returns the name of the lock file. It is never removed: a lock on a removed
// file would exclude nobody.
func (s Settings) lockFile() string { return filepath.Join(s.StateDir, s.Account+".lock") }

// errNoToken means that Login has not been run.
var errNoToken = errors.New("no refresh token is stored")

// readState returns the stored refresh token.
func (s Settings) readState() (secret, error) {
	b, err := readSmall(s.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return secret{}, errNoToken
	}
	if err != nil {
		return secret{}, fmt.Errorf("read refresh token: %w", err)
	}
	var file stored
	if json.Unmarshal(b, &file) != nil || file.RefreshToken == "" {
		return secret{}, fmt.Errorf("file %q holds no refresh token: %w", s.stateFile(), errNoToken)
	}
	if file.ClientID != s.ClientID || file.TokenURL != s.TokenURL {
		return secret{}, fmt.Errorf("the refresh token in %q is for another client_id or token_url: %w", s.stateFile(), errNoToken)
	}
	return newSecret(file.RefreshToken), nil
}

// writeState stores a refresh token. If the system crashes, the file has the old token or
// the new one. The caller holds the lock.
func (s Settings) writeState(refresh secret) error {
	b, err := json.Marshal(stored{RefreshToken: refresh.reveal(), ClientID: s.ClientID, TokenURL: s.TokenURL, Written: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	name := s.stateFile()
	temporary := name + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, likeDirectory(f, s.StateDir), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDirectory(s.StateDir)
}

// errLocked means that another process has held the lock for too long.
var errLocked = errors.New("another process holds the lock")

// lockPoll is the interval at which a held lock is tried again. No system can wait for a
// file lock in a way that can be cancelled.
const lockPoll = 20 * time.Millisecond

// lock acquires the account's lock. It waits until ctx is done or the timeout passes.
// Without the lock two processes might spend one refresh token, and the provider might
// then revoke both (RFC 9700, 4.14.2).
func (s Settings) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(s.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		var again error
		if f, again = os.Open(s.lockFile()); again != nil { // the file system is full or read-only
			return nil, err
		}
	} else if err := likeDirectory(f, s.StateDir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		ours, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %q: %w", f.Name(), err), f.Close())
		}
		if ours {
			return func() { f.Close() }, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %q: %w: %w", f.Name(), errLocked, ctx.Err()), f.Close())
		}
	}
}

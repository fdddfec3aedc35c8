package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
)

// saveAgain is the interval at which storing a refresh token is tried again.
const saveAgain = time.Minute

// A rotation is a refresh token that could not be stored, for example because the disk is
// full. It replaces spent, which is still in the file.
type rotation struct {
	spent, fresh secret
}

// refreshed requests a token with the stored refresh token. It holds the account's lock
// from reading the refresh token until its successor is stored, so that no other process
// spends the same one.
func (s *Source) refreshed(ctx context.Context) (grant, *Error) {
	unlock, err := s.settings.lock(ctx)
	switch {
	case s.ctx.Err() != nil:
		if err == nil {
			unlock()
		}
		return grant{}, s.settings.fault(Closed, nil)
	case errors.Is(err, errLocked):
		return grant{}, s.settings.fault(Local, err)
	case err != nil:
		s.log().Error("no lock for the refresh token; another process may spend it at the same time", "account", s.settings.Account, "err", err)
	default:
		defer unlock()
	}
	current, err := s.current()
	if err != nil {
		return grant{}, s.unread(err)
	}
	// From here on ctx is ignored: a refresh token that was sent may be spent, and its
	// successor must not be lost.
	got, failure := s.spend(current)
	if failure != nil && failure.Kind == InvalidGrant {
		// A program that ignores the lock may have written another one.
		if other, err := s.settings.readState(); err == nil && !other.equal(current) && !other.equal(s.grants.unsaved.spent) {
			current = other
			got, failure = s.spend(current)
		}
	}
	if failure != nil {
		return grant{}, failure
	}
	s.store(current, got.refresh)
	return got, nil
}

// current returns the refresh token to use: the one in the file, or its unsaved successor
// if there is one.
func (s *Source) current() (secret, error) {
	file, err := s.settings.readState()
	if info, err := os.Stat(s.settings.stateFile()); err == nil && othersRead(info) {
		s.log().Warn("others can read the refresh token; its file should have mode 0600",
			"account", s.settings.Account, "file", s.settings.stateFile(), "mode", info.Mode().String())
	}
	unsaved := s.grants.unsaved
	if unsaved.fresh.value == nil {
		return file, err
	}
	if err == nil && !file.equal(unsaved.spent) {
		s.grants.unsaved = rotation{} // another process or Login has stored a newer one
		return file, nil
	}
	return unsaved.fresh, nil
}

// unread returns the Error for a missing refresh token.
func (s *Source) unread(err error) *Error {
	if !errors.Is(err, errNoToken) {
		return s.settings.fault(Local, err)
	}
	e := s.settings.fault(InvalidGrant, err)
	e.Advice = fmt.Sprintf("run \"smtpshim login %s\"", s.settings.Account)
	return e
}

// spend makes the request with a refresh token.
func (s *Source) spend(refresh secret) (grant, *Error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.settings.Timeout)
	defer cancel()
	request := func(ctx context.Context, client secret, more url.Values) (grant, *Error) {
		return s.styled(ctx, client, func(ctx context.Context, style oauth2.AuthStyle) (*oauth2.Token, error) {
			parameters := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.reveal()}}
			maps.Copy(parameters, more)
			c := s.clientCredentials(client, parameters, style)
			c.Scopes = nil // keep the scopes granted to Login (RFC 6749, 6)
			return c.Token(ctx)
		}, refresh.reveal(), more.Get("client_assertion"))
	}
	if s.settings.ClientCertificate != "" {
		return s.asserted(ctx, func(ctx context.Context, now time.Time) (grant, *Error) {
			more, err := s.clientAssertion(now)
			if err != nil {
				return grant{}, err
			}
			return request(ctx, secret{}, more)
		})
	}
	client, err := s.clientSecret()
	if err != nil {
		return grant{}, err
	}
	return request(ctx, client, nil)
}

// store stores the successor of a refresh token that was used. If that fails, the source
// keeps it in memory and tries again later. If the process ends before that, it is lost.
// The caller holds the lock.
func (s *Source) store(used, fresh secret) {
	if fresh.value == nil || fresh.equal(used) && s.grants.unsaved.fresh.value == nil {
		return
	}
	spent := used
	if s.grants.unsaved.fresh.value != nil {
		spent = s.grants.unsaved.spent
	}
	if err := s.settings.writeState(fresh); err != nil {
		s.grants.unsaved = rotation{spent: spent, fresh: fresh}
		s.unstored(err)
		return
	}
	s.grants.unsaved = rotation{}
}

// unstored reports that a refresh token is only in memory, and arranges to store it
// later.
func (s *Source) unstored(err error) {
	s.log().Error("the new refresh token is in memory only: it is lost when this process ends, unless it can be stored before",
		"account", s.settings.Account, "file", s.settings.stateFile(), "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.saver.Reset(saveAgain)
	}
}

// saveLater arranges to store the unsaved refresh token later.
func (s *Source) saveLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(s.saveUnsaved)
	}
}

// saveUnsaved tries again to store the unsaved refresh token.
func (s *Source) saveUnsaved() {
	s.requests.Lock()
	defer s.requests.Unlock()
	if s.grants.unsaved.fresh.value == nil {
		return
	}
	unlock, err := s.settings.lock(context.Background())
	if err != nil {
		s.unstored(err)
		return
	}
	defer unlock()
	if _, err := s.current(); err != nil {
		return
	}
	if fresh := s.grants.unsaved.fresh; fresh.value != nil {
		s.store(fresh, fresh)
	}
}

package token

import (
	"fmt"
	"time"
)

// Check returns an error that says what is wrong with the settings, or nil. It reads
// the files that they name, once the settings themselves are right. Unlike [New], it
// does not create StateDir.
func (s Settings) Check() error {
	_, err := s.source()
	return err
}

// source returns a source that is not started.
func (s Settings) source() (*Source, error) {
	s, err := s.filled()
	if err != nil {
		return nil, err
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	source := &Source{settings: s, client: client}
	return source, source.readable()
}

// readable reads the files of the credentials, to find mistakes before the first request.
func (s *Source) readable() error {
	switch s.settings.Flow {
	case ServiceAccount:
		_, err := s.settings.keyFile()
		return err
	case Command:
		return nil
	}
	if s.settings.ClientCertificate != "" {
		if _, _, err := s.settings.certificate(); err != nil {
			return err
		}
	}
	if _, err := s.clientSecret(); err != nil {
		return err.Err
	}
	return nil
}

// CertificateEnds returns when ClientCertificate expires, or the zero time if there is
// none. No other credential shows its end in its file. It is an error if the
// certificate cannot be read.
func (s Settings) CertificateEnds() (time.Time, error) {
	if s.ClientCertificate == "" {
		return time.Time{}, nil
	}
	leaf, _, err := s.certificate()
	if err != nil {
		return time.Time{}, fmt.Errorf("account %q: %w", s.Account, err)
	}
	return leaf.NotAfter, nil
}

// Stored returns nil if [Login] has stored a refresh token for these settings, and
// otherwise an error. It does not check whether the endpoint still accepts the token.
func (s Settings) Stored() error {
	s, err := s.filled()
	if err != nil {
		return err
	}
	_, err = s.readState()
	return err
}

package token

import (
	"fmt"
	"time"
)

// Check returns an error that says what is wrong with the settings, or nil. If the
// settings themselves are right, it also reads the files that they name, other than the
// stored refresh token. Unlike [New], it does not create StateDir.
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
// none. It is an error if the certificate cannot be read. The files of other
// credentials do not say when they expire.
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

// Stored returns nil if StateDir has a refresh token that [Login] has stored for the
// client ID and the token endpoint of these settings, and otherwise an error. It does
// not ask the endpoint whether the token is still good.
func (s Settings) Stored() error {
	s, err := s.filled()
	if err != nil {
		return err
	}
	_, err = s.readState()
	return err
}

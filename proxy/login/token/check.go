package token

import (
	"fmt"
	"os"
	"time"
)

// readable reads the files of the credentials, to find mistakes before the first
// request.
func (s *Source) readable() error {
	switch s.settings.Flow {
	case ServiceAccount:
		_, err := s.settings.keyFile()
		return err
	case Command:
		return nil
	case RefreshToken:
		if err := os.MkdirAll(s.settings.StateDir, 0o700); err != nil {
			return fmt.Errorf("make state_dir: %w", err)
		}
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

// CertificateEnds returns when the client certificate of the settings ends: the
// only credential whose end its file tells. The zero time: there is none.
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

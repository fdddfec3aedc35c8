package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// assertionLife is the lifetime of an assertion. Microsoft recommends 5 to 10 minutes;
// Google accepts up to an hour.
const assertionLife = 5 * time.Minute

// clockMatters is the least difference between the clocks for which a refused assertion
// is sent again with the endpoint's time.
const clockMatters = 30 * time.Second

// asserted makes a request that is signed together with the time. If the endpoint refuses
// it and the clocks differ, asserted repeats it once with the endpoint's time, which is
// used from then on.
func (s *Source) asserted(ctx context.Context, request func(ctx context.Context, now time.Time) (grant, *Error)) (grant, *Error) {
	used := s.grants.skew
	if used.Abs() < clockMatters {
		used = 0
	}
	got, err := request(ctx, time.Now().Add(used))
	if err == nil || err.Kind != InvalidClient && err.Kind != InvalidGrant {
		return got, err
	}
	if (s.grants.skew - used).Abs() < clockMatters {
		return got, err
	}
	s.log().Warn("the clock of the token endpoint differs from this machine's; its time is used",
		"account", s.settings.Account, "ahead", s.grants.skew.Round(time.Second).String())
	return request(ctx, time.Now().Add(s.grants.skew))
}

// signedClient authenticates the application with a signed assertion instead of a secret:
// private_key_jwt (RFC 7523, 2.2 and 3), with the header that Microsoft requires
// (learn.microsoft.com/entra/identity-platform/certificate-credentials).
func (s *Source) signedClient(ctx context.Context, now time.Time) (grant, *Error) {
	parameters, err := s.clientAssertion(now)
	if err != nil {
		return grant{}, err
	}
	return s.ask(ctx, oauth2.AuthStyleInParams, func(ctx context.Context, style oauth2.AuthStyle) (*oauth2.Token, error) {
		return s.clientCredentials(secret{}, parameters, style).Token(ctx)
	}, []string{parameters.Get("client_assertion")})
}

// clientAssertion returns the parameters that authenticate the application.
func (s *Source) clientAssertion(now time.Time) (url.Values, *Error) {
	chain, key, err := s.settings.certificate()
	if err != nil {
		return nil, s.settings.fault(Local, err)
	}
	sum := sha256.Sum256(chain.Raw)
	id := rand.Text()
	text, err := sign(key, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}, map[string]any{
		"aud": s.settings.TokenURL, "iss": s.settings.ClientID, "sub": s.settings.ClientID, "jti": id,
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}, true)
	if err != nil {
		return nil, s.settings.fault(Local, fmt.Errorf("sign with client_key: %w", err))
	}
	return url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {text},
	}, nil
}

// certificate reads the certificate of the application and its key.
func (s Settings) certificate() (*x509.Certificate, crypto.Signer, error) {
	chain, err := readSmall(s.ClientCertificate)
	if err != nil {
		return nil, nil, fmt.Errorf("read client_certificate: %w", err)
	}
	secretKey := chain
	if s.ClientKey != "" {
		if secretKey, err = readSmall(s.ClientKey); err != nil {
			return nil, nil, fmt.Errorf("read client_key: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(chain, secretKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read client_certificate %q and its key: %w", s.ClientCertificate, err)
	}
	key, err := signer(pair.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("client_key: %w", err)
	}
	return pair.Leaf, key, nil
}

// signer returns key as a key that sign supports.
func signer(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("the RSA key has %d bits; use 2048 or more", key.N.BitLen())
		}
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, errors.New("the key is neither RSA nor P-256")
}

// sign returns a JWT in compact form (RFC 7515, 7.1). It is signed with ES256 if the key
// is of P-256, and otherwise with PS256 or RS256 (RFC 7518, 3.3 to 3.5).
func sign(key crypto.Signer, header, claims map[string]any, pss bool) (string, error) {
	header["typ"] = "JWT"
	_, curve := key.Public().(*ecdsa.PublicKey)
	switch {
	case curve:
		header["alg"] = "ES256"
	case pss:
		header["alg"] = "PS256"
	default:
		header["alg"] = "RS256"
	}
	first, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	second, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(first) + "." + base64.RawURLEncoding.EncodeToString(second)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		var r, v *big.Int
		if r, v, err = ecdsa.Sign(rand.Reader, key, sum[:]); err == nil {
			signature = make([]byte, 64)
			r.FillBytes(signature[:32])
			v.FillBytes(signature[32:])
		}
	case *rsa.PrivateKey:
		if pss {
			signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		}
	}
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// A keyFile is a service account's key file, as Google's console creates it.
type keyFile struct {
	Type    string `json:"type"`
	Email   string `json:"client_email"`
	ID      string `json:"private_key_id"`
	Key     string `json:"private_key"`
	private crypto.Signer
}

func (s Settings) keyFile() (*keyFile, error) {
	b, err := readSmall(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key_file: %w", err)
	}
	var k keyFile
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("key_file %q is not JSON", s.KeyFile)
	}
	block, _ := pem.Decode([]byte(k.Key))
	if k.Type != "service_account" || k.Email == "" || block == nil {
		return nil, fmt.Errorf("key_file %q is not the key of a service account: it has no type \"service_account\", client_email and private_key", s.KeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("private_key in key_file %q cannot be read", s.KeyFile)
		}
	}
	if k.private, err = signer(key); err != nil {
		return nil, fmt.Errorf("private_key in key_file %q: %w", s.KeyFile, err)
	}
	return &k, nil
}

// serviceAccount requests a token with an assertion of the service account as the grant
// (RFC 7523, 2.1; developers.google.com/identity/protocols/oauth2/service-account).
func (s *Source) serviceAccount(ctx context.Context, now time.Time) (grant, *Error) {
	k, err := s.settings.keyFile()
	if err != nil {
		return grant{}, s.settings.fault(Local, err)
	}
	claims := map[string]any{
		"iss": k.Email, "aud": s.settings.TokenURL, "scope": strings.Join(s.settings.Scopes, " "),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	if s.settings.Subject != "" {
		claims["sub"] = s.settings.Subject
	}
	header := map[string]any{}
	if k.ID != "" {
		header["kid"] = k.ID
	}
	assertion, err := sign(k.private, header, claims, false)
	if err != nil {
		return grant{}, s.settings.fault(Local, fmt.Errorf("sign with key_file: %w", err))
	}
	return s.ask(ctx, oauth2.AuthStyleInParams, func(ctx context.Context, style oauth2.AuthStyle) (*oauth2.Token, error) {
		c := s.clientCredentials(secret{}, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
			"assertion":  {assertion},
		}, style)
		c.ClientID, c.Scopes = "", nil // both are in the assertion
		return c.Token(ctx)
	}, []string{assertion})
}

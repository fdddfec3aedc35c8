package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pair makes a certificate for a key, and returns the PEM of both.
func pair(t *testing.T, key crypto.Signer, ends time.Time) (certificate *x509.Certificate, chain, private string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smtpshim"}, NotBefore: ends.AddDate(-1, 0, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// opened checks the signature of a JWT and returns its header and claims.
func opened(text string, public crypto.PublicKey) (header, claims map[string]any, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("it has not three parts")
	}
	var decoded [3][]byte
	for i, part := range parts {
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return nil, nil, err
		}
	}
	if err := errors.Join(json.Unmarshal(decoded[0], &header), json.Unmarshal(decoded[1], &claims)); err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch header["alg"] {
	case "RS256":
		err = rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, sum[:], decoded[2])
	case "PS256":
		err = rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, sum[:], decoded[2], &rsa.PSSOptions{SaltLength: 32})
	case "ES256":
		half := len(decoded[2]) / 2
		if half != 32 || !ecdsa.Verify(public.(*ecdsa.PublicKey), sum[:], new(big.Int).SetBytes(decoded[2][:half]), new(big.Int).SetBytes(decoded[2][half:])) {
			err = errors.New("the signature is wrong")
		}
	default:
		err = errors.New("alg is unknown")
	}
	return header, claims, err
}

func TestClientCertificateSignsAnAssertion(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[string]crypto.Signer{"PS256": rsaKey(t, 2048), "ES256": curve} {
		t.Run(alg, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := gives(time.Hour)
				settings, _ := withSecret(t, e)
				leaf, chain, private := pair(t, key, time.Now().AddDate(1, 0, 0))
				settings.ClientSecretFile = ""
				settings.ClientCertificate, settings.ClientKey = file(t, "cert.pem", chain), file(t, "key.pem", private)
				s := open(t, settings)
				must(t, s)
				form := e.last()
				if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Has("client_secret") {
					t.Errorf("the request has the parameters %v", form)
				}
				header, claims, err := opened(form.Get("client_assertion"), key.Public())
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(leaf.Raw)
				if header["alg"] != alg || header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
					t.Errorf("the header is %v", header)
				}
				const endpoint = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
				if claims["aud"] != endpoint || claims["iss"] != "id-of-the-application" || claims["sub"] != claims["iss"] || claims["jti"] == "" {
					t.Errorf("the claims are %v", claims)
				}
				if now := float64(time.Now().Unix()); claims["nbf"] != now || claims["exp"] != now+300 {
					t.Errorf("the claims are %v, want nbf %v and exp 300 s later", claims, now)
				}
				ends, err := settings.CertificateEnds()
				if err != nil || !ends.Equal(leaf.NotAfter) {
					t.Errorf("the certificate ends at %v, %v; want %v", ends, err, leaf.NotAfter)
				}
			})
		})
	}
}

// serviceKey writes a key file as Google's console gives it.
func serviceKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	_, _, private := pair(t, key, time.Now().AddDate(1, 0, 0))
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "shim@project.example.com", "private_key_id": "key-1", "private_key": private,
		"token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "key.json", string(b))
}

func TestServiceAccountPresentsAnAssertion(t *testing.T) {
	key := rsaKey(t, 2048)
	synctest.Test(t, func(t *testing.T) {
		e := gives(time.Hour)
		settings := Settings{Account: "google", Provider: "google", Flow: ServiceAccount, KeyFile: serviceKey(t, key), Subject: "scanner@example.com", HTTP: e}
		must(t, open(t, settings))
		form := e.last()
		if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || len(form) != 2 {
			t.Errorf("the request has the parameters %v", form)
		}
		header, claims, err := opened(form.Get("assertion"), key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if header["alg"] != "RS256" || header["kid"] != "key-1" {
			t.Errorf("the header is %v", header)
		}
		if claims["iss"] != "shim@project.example.com" || claims["sub"] != "scanner@example.com" ||
			claims["aud"] != "https://oauth2.googleapis.com/token" || claims["scope"] != "https://mail.google.com/" {
			t.Errorf("the claims are %v", claims)
		}
	})
}

// A strict endpoint refuses an assertion that is not of its own time, as Google
// ("Invalid JWT: Token must be a short-lived token") and Microsoft
// (AADSTS700024) do.
func strict(ahead time.Duration, public crypto.PublicKey, parameter, code string) *endpoint {
	return &endpoint{answer: func(_ *http.Request, form url.Values) *http.Response {
		now := time.Now().Add(ahead)
		_, claims, err := opened(form.Get(parameter), public)
		if err != nil {
			panic(err)
		}
		begins, ends := claims["iat"].(float64), claims["exp"].(float64)
		if begins > float64(now.Unix()+60) || ends < float64(now.Unix()) {
			return says(400, now, map[string]any{"error": code, "error_description": "AADSTS700024: not within its valid time range"})
		}
		return says(200, now, map[string]any{"access_token": "good", "expires_in": 3600, "expires_on": now.Add(time.Hour).Unix()})
	}}
}

func TestClockThatIsOffByHoursDoesNotMatter(t *testing.T) {
	key := rsaKey(t, 2048)
	for _, ahead := range []time.Duration{-25 * time.Hour, -3 * time.Hour, 0, 3 * time.Hour, 24 * 365 * time.Hour} {
		for _, flow := range []Flow{ClientCredentials, ServiceAccount} {
			t.Run(string(flow)+ahead.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var e *endpoint
					var settings Settings
					if flow == ServiceAccount {
						e = strict(ahead, key.Public(), "assertion", "invalid_grant")
						settings = Settings{Account: "google", Flow: ServiceAccount, KeyFile: serviceKey(t, key), HTTP: e}
					} else {
						e = strict(ahead, key.Public(), "client_assertion", "invalid_client")
						settings, _ = withSecret(t, e)
						_, chain, private := pair(t, key, time.Now().AddDate(1, 0, 0))
						settings.ClientSecretFile, settings.ClientCertificate = "", file(t, "both.pem", chain+private)
					}
					s := open(t, settings)
					got := must(t, s)
					if left := time.Until(got.Expires()); left != time.Hour {
						t.Errorf("the token has %v left, want 1h by the local clock", left)
					}
					time.Sleep(50 * time.Minute)
					synctest.Wait()
					want := 2
					if ahead != 0 {
						want = 3 // the first is refused; what it teaches is kept
					}
					if e.count() != want {
						t.Errorf("there were %d requests, want %d", e.count(), want)
					}
				})
			})
		}
	}
}

func TestRefusedAssertionIsNotRepeatedWhenTheClocksAgree(t *testing.T) {
	key := rsaKey(t, 2048)
	synctest.Test(t, func(t *testing.T) {
		e := refuses(400, "invalid_grant", "Invalid JWT Signature.")
		s := open(t, Settings{Account: "google", Flow: ServiceAccount, KeyFile: serviceKey(t, key), HTTP: e})
		if err := fails(t, s); err.Kind != InvalidGrant || err.Description != "Invalid JWT Signature." || e.count() != 1 {
			t.Errorf("after %d requests the error is %v, want one", e.count(), err)
		}
	})
}

func TestWeakOrForeignKeysAreRefused(t *testing.T) {
	long, other := rsaKey(t, 2048), rsaKey(t, 2048)
	_, chain, private := pair(t, long, time.Now().AddDate(1, 0, 0))
	_, _, foreign := pair(t, other, time.Now().AddDate(1, 0, 0))
	for name, text := range map[string]string{"another's key": chain + foreign, "no key": chain, "no certificate": private, "nothing": ""} {
		settings, _ := withSecret(t, gives(time.Hour))
		settings.ClientSecretFile, settings.ClientCertificate = "", file(t, "both.pem", text)
		if _, err := New(settings); err == nil {
			t.Errorf("%s: New returns no error, want one", name)
		}
	}
	for name, text := range map[string]string{"no JSON": private, "a user's credentials": `{"type":"authorized_user"}`, "no key": `{"type":"service_account","client_email":"a@example.com","private_key":"x"}`} {
		_, err := New(Settings{Account: "google", Provider: "google", Flow: ServiceAccount, KeyFile: file(t, "key.json", text)})
		if err == nil || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: New returns %v, want an error that does not quote the file", name, err)
		}
	}
}

package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Certificate is a certificate with which smtpshim identifies itself on one side of a
// route.
type Certificate struct {
	Route, Side string
	Name        string // the first name in the certificate, or else its subject
	Fingerprint string // SHA-256 of the certificate, in hexadecimal
	NotAfter    time.Time
}

// CertificateExpiry returns a collector that reports when each certificate of smtpshim
// expires. list returns the certificates in use. Each scrape calls list, which must be
// safe for concurrent use.
func CertificateExpiry(list func() []Certificate) prometheus.Collector {
	return certificates{list, prometheus.NewDesc("smtpshim_certificate_expiry_timestamp_seconds",
		"When a certificate of smtpshim ends, in seconds since 1970.", []string{"route", "side", "name", "fingerprint"}, nil)}
}

type certificates struct {
	list func() []Certificate
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c certificates) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c certificates) Collect(to chan<- prometheus.Metric) {
	type place struct{ route, side, fingerprint string }
	seen := map[place]bool{} // a certificate may be in two files
	for _, cert := range c.list() {
		at := place{cert.Route, cert.Side, cert.Fingerprint}
		if seen[at] {
			continue
		}
		seen[at] = true
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(cert.NotAfter.Unix()),
			cert.Route, cert.Side, strings.ToValidUTF8(cert.Name, "?"), cert.Fingerprint)
	}
}

// An AccountCertificate is a certificate with which an account authenticates to its token
// endpoint.
type AccountCertificate struct {
	Account  string
	NotAfter time.Time
}

// AccountCertificateExpiry returns a collector that reports when the client certificate
// of each account expires. list returns the certificates in use. Each scrape calls
// list, which must be safe for concurrent use.
func AccountCertificateExpiry(list func() []AccountCertificate) prometheus.Collector {
	return accountCertificates{list, prometheus.NewDesc("smtpshim_account_certificate_expiry_timestamp_seconds",
		"When the client certificate of an account ends, in seconds since 1970.", []string{"account"}, nil)}
}

type accountCertificates struct {
	list func() []AccountCertificate
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c accountCertificates) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c accountCertificates) Collect(to chan<- prometheus.Metric) {
	for _, cert := range c.list() {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(cert.NotAfter.Unix()), cert.Account)
	}
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/logins"
)

// caEnv names a file of certificates, for users without a profile.
const caEnv = "GENKIT_WASM_CA"

// maxCA bounds a file of certificates, in bytes.
const maxCA = 256 << 10

// readCA reads the certificates of those who may vouch for a server.
func readCA(file, from string) (string, error) {
	raw, err := readFile(file, maxCA)
	if err != nil {
		return "", err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(raw) {
		return "", usagef("%s: %s holds no certificate in PEM", from, file)
	}
	return string(raw), nil
}

// trust finds out who may vouch for the server: the flag comes first, then the environment, then the profile.
// Empty trusts the authorities of the system. A profile's certificates count for the profile's server only.
func (a *app) trust(p logins.Profile) (err error) {
	file := os.Getenv(caEnv)
	switch {
	case a.caFile != "":
		a.ca, err = readCA(a.caFile, "--ca")
	case file != "":
		a.ca, err = readCA(file, caEnv)
	default:
		a.ca = p.CAFor(a.server)
	}
	return err
}

// client is the client of HTTP for the server.
func (a *app) client() (*http.Client, error) {
	if a.ca == "" {
		return httpClient(), nil
	}
	if a.trusting == nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(a.ca)) {
			return nil, usagef("the profile's certificate can't be read; \"genkit-wasm login --ca FILE\" keeps another one")
		}
		a.trusting = newHTTPClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	}
	return a.trusting, nil
}

var httpClient = sync.OnceValue(func() *http.Client { return newHTTPClient(nil) })

func newHTTPClient(trusted *tls.Config) *http.Client {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultClient
	}
	transport = transport.Clone()
	transport.ExpectContinueTimeout = time.Second
	if trusted != nil {
		transport.TLSClientConfig = trusted
	}
	// An answer that leads elsewhere is none of a server's, and a key goes to no other place.
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// distrust says what to do about a certificate that is not good; empty for any other failure.
func distrust(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "name the server in --server by a name that its certificate is for"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "if the server's operator has given you a certificate: \"genkit-wasm login --ca FILE\", or " + caEnv
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "ask the server's operator about its certificate"
	}
	return ""
}

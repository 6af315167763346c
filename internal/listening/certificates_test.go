package listening

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write writes a certificate with a serial number into dir.
func write(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	return writeUntil(t, dir, serial, time.Now().Add(time.Hour))
}

func writeUntil(t *testing.T, dir string, serial int64, until time.Time) (certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return certFile, keyFile
}

// serial looks at the files anew.
func serial(t *testing.T, c *Certificates) int64 {
	t.Helper()
	c.looked = time.Time{}
	got, err := c.Get(nil)
	require.NoError(t, err)
	return got.Leaf.SerialNumber.Int64()
}

func TestCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	cert, key := write(t, dir, 1)
	var log bytes.Buffer
	var refused error
	c, err := LoadCertificates(cert, key, func(file string) error {
		assert.Equal(t, key, file)
		return refused
	}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, serial(t, c))
	assert.Empty(t, log.String(), "nothing has changed")
	assert.WithinDuration(t, time.Now().Add(time.Hour), c.End(), time.Minute)

	write(t, dir, 2)
	got, err := c.Get(nil)
	require.NoError(t, err)
	assert.EqualValues(t, 1, got.Leaf.SerialNumber.Int64(), "files are looked at once a second")
	assert.EqualValues(t, 2, serial(t, c))
	assert.Contains(t, log.String(), "the certificate was read again")

	log.Reset()
	require.NoError(t, os.WriteFile(key, []byte("half a key"), 0o600))
	for range 3 {
		assert.EqualValues(t, 2, serial(t, c), "the one before serves")
	}
	assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("can't be read")), "a failure is told once")
	require.NoError(t, os.Remove(key))
	assert.EqualValues(t, 2, serial(t, c))

	refused = errors.New("others may read it")
	write(t, dir, 3)
	assert.EqualValues(t, 2, serial(t, c), "a key that is refused is not read")
	assert.Contains(t, log.String(), "others may read it")
	refused = nil
	require.NoError(t, os.Chmod(key, 0o400))
	assert.EqualValues(t, 3, serial(t, c), "a mode is a change, too")
}

// A certificate that has expired is no better than a good one that serves; alone, it is told.
func TestAnExpiredCertificateReplacesNoGoodOne(t *testing.T) {
	dir := t.TempDir()
	cert, key := write(t, dir, 1)
	var log bytes.Buffer
	c, err := LoadCertificates(cert, key, nil, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	writeUntil(t, dir, 2, time.Now().Add(-time.Hour))
	assert.EqualValues(t, 1, serial(t, c))
	assert.Contains(t, log.String(), "level=ERROR")
	write(t, dir, 3)
	writeUntil(t, dir, 3, time.Now().Add(48*time.Hour))
	c.looked = time.Time{}
	assert.WithinDuration(t, time.Now().Add(48*time.Hour), c.End(), time.Minute, "the files are looked at, also when nobody connects")
	assert.EqualValues(t, 3, serial(t, c))
	log.Reset()
	writeUntil(t, dir, 4, time.Now().Add(-time.Hour))
	_, err = LoadCertificates(cert, key, nil, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	assert.Contains(t, log.String(), "not valid now")
}

func TestCertificatesThatDoNotFitAreRefused(t *testing.T) {
	cert, key := write(t, t.TempDir(), 1)
	_, other := write(t, t.TempDir(), 2)
	for _, files := range [][2]string{{key, cert}, {cert, other}, {"none", key}, {cert, "none"}} {
		_, err := LoadCertificates(files[0], files[1], nil, slog.New(slog.DiscardHandler))
		assert.Error(t, err, files)
	}
	refused := errors.New("others may read it")
	_, err := LoadCertificates(cert, key, func(string) error { return refused }, slog.New(slog.DiscardHandler))
	assert.ErrorIs(t, err, refused)
}

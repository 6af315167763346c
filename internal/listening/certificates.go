package listening

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificates gives a certificate for each connection, and reads its files again when they have changed. While they can't
// be read, don't belong together, or are not valid at the time, the one before serves, as long as it is. It is safe for concurrent use.
type Certificates struct {
	certFile, keyFile string
	checkKey          func(file string) error
	log               *slog.Logger

	mu      sync.Mutex // guards the fields below
	current *tls.Certificate
	seen    [2]stamp  // the files that current, or the last failure, is of
	looked  time.Time // when the files were looked at
}

// stamp is how a change of a file is told.
type stamp struct {
	at   time.Time
	size int64
	mode os.FileMode
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// LoadCertificates reads a certificate, with its chain, and its private key, both in PEM. checkKey, where it is not nil, is
// asked each time before the key is read, and its error refuses the file.
func LoadCertificates(certFile, keyFile string, checkKey func(file string) error, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, checkKey: checkKey, log: log}
	if _, err := c.Get(nil); err != nil {
		return nil, err
	}
	return c, nil
}

// Get is for [tls.Config.GetCertificate].
func (c *Certificates) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && time.Since(c.looked) < lookEvery {
		return c.current, nil
	}
	c.looked = time.Now()
	seen := [2]stamp{stampOf(c.certFile), stampOf(c.keyFile)}
	if c.current != nil && seen == c.seen {
		return c.current, nil
	}
	loaded, err := c.load()
	if err == nil && !validNow(&loaded) {
		if c.current != nil && validNow(c.current) {
			err = fmt.Errorf("the certificate is valid from %s to %s alone", loaded.Leaf.NotBefore.UTC().Format(time.RFC3339), loaded.Leaf.NotAfter.UTC().Format(time.RFC3339))
		} else {
			c.log.Error("the certificate is not valid now, and clients refuse it", slog.Time("from", loaded.Leaf.NotBefore), slog.Time("to", loaded.Leaf.NotAfter))
		}
	}
	if err == nil {
		if c.current != nil {
			c.log.Info("the certificate was read again", slog.Time("expires", loaded.Leaf.NotAfter))
		}
		c.current, c.seen = &loaded, seen
		return c.current, nil
	}
	if c.current == nil {
		return nil, err
	}
	if seen != c.seen {
		c.log.Error("the files of the certificate have changed and can't be read; the one before serves", slog.Any("error", err))
	}
	c.seen = seen
	return c.current, nil
}

// End returns when the certificate that serves ends. It looks at the files as Get does.
func (c *Certificates) End() time.Time {
	current, err := c.Get(nil)
	if err != nil { // never, once a certificate was loaded
		return time.Time{}
	}
	return current.Leaf.NotAfter
}

func validNow(c *tls.Certificate) bool {
	now := time.Now()
	return !now.Before(c.Leaf.NotBefore) && !now.After(c.Leaf.NotAfter)
}

func (c *Certificates) load() (tls.Certificate, error) {
	if c.checkKey != nil {
		if err := c.checkKey(c.keyFile); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.LoadX509KeyPair(c.certFile, c.keyFile)
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size(), info.Mode()}
}

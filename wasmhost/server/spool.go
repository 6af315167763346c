package server

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// An upload may be slow, and holds little while it is: its bytes go to a file without a
// name, and only one that has arrived whole takes one of the places before the compiler.

const (
	// spoolInMemory is how much of a module is kept in memory while it arrives.
	spoolInMemory = 128 << 10
	// maxSpools bounds the uploads that arrive at a time, spoolsOfTenant those of one
	// tenant.
	maxSpools      = 64
	spoolsOfTenant = 8
	// spoolGrace and spoolRate are the slowest upload: so long, and so many bytes a
	// second after that.
	spoolGrace = 10 * time.Second
	spoolRate  = 32 << 10
)

// spools counts the uploads that arrive.
type spools struct {
	mu     sync.Mutex // guards the fields below
	all    int
	tenant map[string]int
}

// take counts one more, or refuses at once. Its result gives it back.
func (s *spools) take(tenant string) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxSpools || s.tenant[tenant] >= spoolsOfTenant {
		return nil, status.Publicf(status.ResourceExhausted, "too many uploads are arriving at a time; try again later").WithRetryAfter(5 * time.Second)
	}
	s.all++
	s.tenant[tenant]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.tenant[tenant]--; s.tenant[tenant] == 0 {
			delete(s.tenant, tenant)
		}
	}), nil
}

// spool is a module that has arrived or is arriving.
type spool struct {
	head bytes.Buffer
	file *os.File // nil while it fits into memory
	size int64
	hash hash.Hash // of the bytes; nil where nobody asks for it
}

// Write takes the next bytes.
func (s *spool) Write(p []byte) (int, error) {
	if s.hash != nil {
		_, _ = s.hash.Write(p) // never fails
	}
	if s.file == nil && s.head.Len()+len(p) <= spoolInMemory {
		s.size += int64(len(p))
		return s.head.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "genkit-wasm-upload-")
		if err != nil {
			return 0, err
		}
		s.file = f
		_ = os.Remove(f.Name()) // where an open file can't be removed, close does it
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	return n, err
}

// bytes returns the whole module.
func (s *spool) bytes() ([]byte, error) {
	all := make([]byte, s.size)
	n := copy(all, s.head.Bytes())
	if s.file == nil {
		return all, nil
	}
	if _, err := s.file.ReadAt(all[n:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, storedir.Problem("read the upload back", err)
	}
	return all, nil
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name()) // it is gone already where it could be
		s.file = nil
	}
}

// paced is a request's body that has to arrive at a rate.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	start   time.Time
	limit   time.Duration // for all of it
	read    int64
}

func (p *paced) Read(b []byte) (int, error) {
	due := min(spoolGrace+time.Duration(float64(p.read)/spoolRate*float64(time.Second)), p.limit)
	_ = p.control.SetReadDeadline(p.start.Add(due)) // a writer that is no connection needs no deadlines
	n, err := p.ReadCloser.Read(b)
	p.read += int64(n)
	return n, err
}

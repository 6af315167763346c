// Package logins keeps what a user has logged in to: for each profile a server, how to trust it, and a key for it, in a file
// that is its owner's alone to read. It sends nothing.
//
//	file, err := logins.Read(path)
//	p, ok := file.Get("")        // the profile of the last login
//	key := p.KeyFor(server)      // empty for any other server than the profile's
package logins

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxBytes bounds the file.
const maxBytes = 1 << 20

// Profile is a server and how to reach it.
type Profile struct {
	Server string `json:"server"`
	Tenant string `json:"tenant,omitempty"`
	Key    string `json:"key"`
	// CA are the certificates that the server's has to be of, in PEM; empty for those of the system.
	CA string `json:"ca,omitempty"`
}

// KeyFor is the profile's key where server is the profile's; empty for any other: a key goes to no other place.
func (p Profile) KeyFor(server string) string {
	if !sameServer(server, p.Server) {
		return ""
	}
	return p.Key
}

// CAFor are the profile's certificates where server is the profile's; empty for any other, for which they don't vouch.
func (p Profile) CAFor(server string) string {
	if !sameServer(server, p.Server) {
		return ""
	}
	return p.CA
}

func sameServer(one, other string) bool {
	a, err := url.Parse(one)
	b, otherErr := url.Parse(other)
	return err == nil && otherErr == nil && a.Host != "" && a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// File holds profiles by name.
type File struct {
	// Current is the profile of the last login.
	Current  string             `json:"current,omitempty"`
	Profiles map[string]Profile `json:"profiles"`
}

// ExposedError is the error of [Read] for a file that others may read: its keys may be known to them.
type ExposedError struct{ Path string }

func (e *ExposedError) Error() string {
	return "others on this machine may read the keys in " + e.Path
}

// Path is where the file of this user is.
func Path() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "genkit-wasm", "profiles.json"), nil
}

// Read reads a file; one that is not there has no profiles.
func Read(path string) (*File, error) {
	all := &File{Profiles: map[string]Profile{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, &ExposedError{path}
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxBytes)
	}
	if err := json.Unmarshal(raw, all); err != nil {
		return nil, fmt.Errorf("%s holds no profiles: %w", path, err)
	}
	if all.Profiles == nil {
		all.Profiles = map[string]Profile{}
	}
	return all, nil
}

// Get returns a profile; that of the last login where name is empty.
func (f *File) Get(name string) (Profile, bool) {
	p, ok := f.Profiles[cmp.Or(name, f.Current)]
	return p, ok
}

// Put keeps a profile, which is that of the last login from now on.
func (f *File) Put(name string, p Profile) { f.Profiles[name], f.Current = p, name }

// Forget drops a profile.
func (f *File) Forget(name string) {
	delete(f.Profiles, name)
	if f.Current == name {
		f.Current = ""
	}
}

// Write puts the file in the place of the one that is there, as a whole, for its owner alone to read.
func (f *File) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".profiles-*") // with the mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(append(raw, '\n'))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

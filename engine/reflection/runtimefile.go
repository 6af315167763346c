package reflection

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// runtimeInfo is the file from which the tools find a runtime.
type runtimeInfo struct {
	ID          string `json:"id"`
	PID         int    `json:"pid"`
	Name        string `json:"name,omitempty"`
	URL         string `json:"reflectionServerUrl"`
	Timestamp   string `json:"timestamp"`
	Version     string `json:"genkitVersion"`
	SpecVersion int    `json:"reflectionApiSpecVersion"`
}

// projectFiles mark the root of a project; the genkit command line looks for the same.
var projectFiles = []string{
	"package.json", "go.mod", "pyproject.toml", "requirements.txt", "pom.xml", "build.gradle", "build.gradle.kts", "pubspec.yaml",
}

// projectRoot returns the nearest folder, from the working directory up, that holds a
// project's file; without one the working directory.
func projectRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		for _, name := range projectFiles {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return dir, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return start, nil
		}
	}
}

// runtimeFile is the file by which the tools find this runtime; nil where none could
// be written.
type runtimeFile struct {
	path string
	log  *slog.Logger
}

// announce writes the runtime file, whole or not at all.
func (s *Server) announce(_ context.Context) (*runtimeFile, error) {
	root := s.config.Root
	if root == "" {
		var err error
		if root, err = projectRoot(); err != nil {
			return nil, err
		}
	}
	base := filepath.Join(root, ".genkit")
	dir := filepath.Join(base, "runtimes")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s.sweep(dir)
	now := time.Now().UTC()
	raw, err := json.MarshalIndent(runtimeInfo{
		ID: s.id, PID: os.Getpid(), Name: s.name, URL: s.url, Timestamp: now.Format("2006-01-02T15:04:05.000Z07:00"),
		Version: runtimeVersion, SpecVersion: SpecVersion,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	// The tools watch the folder: what they see there has to be whole.
	temp, err := os.CreateTemp(base, ".runtime-*")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fmt.Sprintf("%d-%s-%d.json", os.Getpid(), s.port(), now.UnixMilli()))
	_, err = temp.Write(raw)
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return nil, err
	}
	return &runtimeFile{path: path, log: s.log}, nil
}

func (s *Server) port() string { return s.url[strings.LastIndexByte(s.url, ':')+1:] }

// maxRuntimeFile bounds the size of a runtime file of another process, in bytes.
const maxRuntimeFile = 64 << 10

// sweep removes the files of runtimes that ended without doing so: those that claim the
// port which is ours now.
func (s *Server) sweep(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return
	}
	for _, path := range files {
		info, err := readRuntime(path)
		if err == nil && onLoopback(info.URL) && strings.HasSuffix(info.URL, ":"+s.port()) {
			_ = os.Remove(path)
		}
	}
}

func readRuntime(path string) (info runtimeInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return info, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxRuntimeFile))
	if err != nil {
		return info, err
	}
	err = json.Unmarshal(raw, &info)
	return info, err
}

// remove takes the file back.
func (f *runtimeFile) remove() {
	if f == nil {
		return
	}
	if err := os.Remove(f.path); err != nil && !os.IsNotExist(err) { // the tools may have been quicker
		f.log.Warn("the runtime file stays behind", slog.Any("error", err))
	}
}

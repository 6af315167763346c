package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var commit = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "binary")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// read returns the files of a tar, by name.
func read(t *testing.T, r io.Reader) (files map[string][]byte, modes map[string]int64) {
	t.Helper()
	files, modes = map[string][]byte{}, map[string]int64{}
	for tr := tar.NewReader(r); ; {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, modes
		}
		require.NoError(t, err)
		content, err := io.ReadAll(tr)
		require.NoError(t, err)
		assert.True(t, head.ModTime.Equal(commit), "%s is of %s", head.Name, head.ModTime)
		files[head.Name], modes[head.Name] = content, head.Mode
	}
}

func TestAnArchiveHoldsTheBinaryAndWhatGoesWithIt(t *testing.T) {
	t.Chdir("../..") // LICENSE and the others are at the root
	dir := t.TempDir()
	binary := file(t, "an executable")
	require.NoError(t, pack(filepath.Join(dir, "x_linux"), binary, platform{"linux", "amd64"}, commit))
	packed, err := os.ReadFile(filepath.Join(dir, "x_linux.tar.gz"))
	require.NoError(t, err)
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	files, modes := read(t, gz)
	assert.Equal(t, "an executable", string(files["genkit-wasm"]))
	assert.Equal(t, int64(0o755), modes["genkit-wasm"])
	assert.Contains(t, string(files["LICENSE"]), "Apache License")
	assert.Len(t, files, 1+len(besides))

	require.NoError(t, pack(filepath.Join(dir, "x_windows"), binary, platform{"windows", "amd64"}, commit))
	z, err := zip.OpenReader(filepath.Join(dir, "x_windows.zip"))
	require.NoError(t, err)
	defer z.Close()
	assert.Equal(t, "genkit-wasm.exe", z.File[0].Name)
	assert.Len(t, z.File, 1+len(besides))
}

func TestAReleaseOfTheSameCommitHasTheSameBytes(t *testing.T) {
	t.Chdir("../..")
	binary := file(t, "an executable")
	var sums [2]string
	for i := range sums {
		dir := t.TempDir()
		require.NoError(t, pack(filepath.Join(dir, "linux"), binary, platform{"linux", "amd64"}, commit))
		require.NoError(t, pack(filepath.Join(dir, "windows"), binary, platform{"windows", "amd64"}, commit))
		require.NoError(t, writeImage(filepath.Join(dir, "image.tar"), "v0.1.0", []imageBinary{{platform{"linux", "amd64"}, binary}}, commit))
		require.NoError(t, checksums(dir))
		all, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		require.NoError(t, err)
		sums[i] = string(all)
	}
	assert.Equal(t, sums[0], sums[1])
	assert.Equal(t, 3, strings.Count(sums[0], "\n"))
}

// TestTheImageIsAWholeLayout follows every pointer of the layout, as a container engine does.
func TestTheImageIsAWholeLayout(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, writeImage(name, "v0.1.0", []imageBinary{
		{platform{"linux", "amd64"}, file(t, "for amd64")}, {platform{"linux", "arm64"}, file(t, "for arm64")},
	}, commit))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	files, _ := read(t, f)

	blob := func(d descriptor) []byte {
		content, ok := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		require.True(t, ok, "no blob %s", d.Digest)
		assert.Equal(t, d.Digest, fmt.Sprintf("sha256:%x", sha256.Sum256(content)))
		assert.Len(t, content, d.Size)
		return content
	}
	var index struct{ Manifests []descriptor }
	require.NoError(t, json.Unmarshal(files["index.json"], &index))
	require.NoError(t, json.Unmarshal(blob(index.Manifests[0]), &index))
	require.Len(t, index.Manifests, 2)
	for _, m := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		require.NoError(t, json.Unmarshal(blob(m), &manifest))
		var config struct {
			Architecture string
			RootFS       struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		require.NoError(t, json.Unmarshal(blob(manifest.Config), &config))
		assert.Equal(t, m.Platform["architecture"], config.Architecture)
		gz, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
		require.NoError(t, err)
		plain, err := io.ReadAll(gz)
		require.NoError(t, err)
		assert.Equal(t, []string{fmt.Sprintf("sha256:%x", sha256.Sum256(plain))}, config.RootFS.DiffIDs)
		inside, _ := read(t, bytes.NewReader(plain))
		assert.Equal(t, "for "+config.Architecture, string(inside["genkit-wasm"]))
	}
}

func TestAReleaseNeedsAVersionAndAnEmptyFolder(t *testing.T) {
	for _, version := range []string{"", "1.0.0", "v1", "v1.0.0;rm"} {
		assert.ErrorContains(t, release(t.Context(), version, t.TempDir()), "want one such as v0.1.0", "version %q", version)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	assert.ErrorContains(t, release(t.Context(), "v0.1.0", dir), "is not empty")
}

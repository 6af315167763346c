package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// imageBinary is the binary that the image has for a platform.
type imageBinary struct {
	platform platform
	file     string
}

// descriptor points to a blob of an OCI layout (image-spec, descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// nobody owns what runs in the image, and its data.
const nobody = 65532

// layout collects blobs and writes them as an OCI image layout (image-spec,
// image-layout.md).
type layout struct {
	blobs map[string][]byte // by digest
	order []string
}

func (l *layout) add(mediaType string, content []byte) descriptor {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	if _, ok := l.blobs[digest]; !ok {
		l.blobs[digest] = content
		l.order = append(l.order, digest)
	}
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(content)}
}

func (l *layout) addJSON(mediaType string, v any) (descriptor, error) {
	raw, err := json.Marshal(v)
	return l.add(mediaType, raw), err
}

// writeImage writes an image for all platforms of binaries. It holds the binary and a
// folder for data, runs as nobody, and serves on port 3400 when the operator says to
// whom (--addr).
func writeImage(file, version string, binaries []imageBinary, at time.Time) error {
	l := &layout{blobs: map[string][]byte{}}
	var manifests []descriptor
	for _, b := range binaries {
		m, err := l.addPlatform(b, version, at)
		if err != nil {
			return err
		}
		manifests = append(manifests, m)
	}
	all, err := l.addJSON(mediaIndex, map[string]any{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": manifests})
	if err != nil {
		return err
	}
	all.Annotations = map[string]string{"org.opencontainers.image.ref.name": version, "io.containerd.image.name": "genkit-wasm:" + version}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": []descriptor{all}})
	if err != nil {
		return err
	}
	return writeFile(file, func(w io.Writer) error { return l.write(w, index, at) })
}

func (l *layout) addPlatform(b imageBinary, version string, at time.Time) (descriptor, error) {
	layer, diffID, err := imageLayer(b.file, at)
	if err != nil {
		return descriptor{}, err
	}
	layerDescriptor := l.add(mediaLayer, layer)
	config, err := l.addJSON(mediaConfig, map[string]any{
		"created": at.Format(time.RFC3339), "os": b.platform.system, "architecture": b.platform.processor,
		"config": map[string]any{
			"User": fmt.Sprintf("%d:%d", nobody, nobody), "Entrypoint": []string{"/genkit-wasm"}, "Cmd": []string{"serve", "--data", "/data"},
			"Volumes": map[string]any{"/data": struct{}{}},
			"Env":     []string{"TMPDIR=/data/tmp"},
			"Labels":  map[string]string{"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0"},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{diffID}},
		"history": []any{map[string]any{"created": at.Format(time.RFC3339), "created_by": "genkit-wasm release"}},
	})
	if err != nil {
		return descriptor{}, err
	}
	m, err := l.addJSON(mediaManifest, map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": []descriptor{layerDescriptor},
	})
	m.Platform = map[string]string{"os": b.platform.system, "architecture": b.platform.processor}
	return m, err
}

// imageLayer returns the compressed layer, and the digest of what it holds.
func imageLayer(binary string, at time.Time) (layer []byte, diffID string, err error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, "", err
	}
	var plain bytes.Buffer
	tw := tar.NewWriter(&plain)
	err = errors.Join(
		tarFile(tw, "genkit-wasm", 0o755, content, at),
		tw.WriteHeader(&tar.Header{Name: "data/", Mode: 0o700, Uid: nobody, Gid: nobody, ModTime: at, Typeflag: tar.TypeDir, Format: tar.FormatUSTAR}),
		tw.WriteHeader(&tar.Header{Name: "data/tmp/", Mode: 0o700, Uid: nobody, Gid: nobody, ModTime: at, Typeflag: tar.TypeDir, Format: tar.FormatUSTAR}),
		tw.Close(),
	)
	if err != nil {
		return nil, "", err
	}
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	_, err = gz.Write(plain.Bytes())
	err = errors.Join(err, gz.Close())
	return packed.Bytes(), fmt.Sprintf("sha256:%x", sha256.Sum256(plain.Bytes())), err
}

func (l *layout) write(w io.Writer, index []byte, at time.Time) error {
	tw := tar.NewWriter(w)
	if err := tarFile(tw, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`), at); err != nil {
		return err
	}
	if err := tarFile(tw, "index.json", 0o644, index, at); err != nil {
		return err
	}
	for _, digest := range l.order {
		if err := tarFile(tw, "blobs/sha256/"+digest[len("sha256:"):], 0o644, l.blobs[digest], at); err != nil {
			return err
		}
	}
	return tw.Close()
}

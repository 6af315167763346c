package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// entry is one file of an archive: where it comes from and what it is called there.
type entry struct {
	from, name string
	mode       int64
}

// pack writes the archive of a platform: base.zip for Windows, else base.tar.gz.
func pack(base, binary string, p platform, at time.Time) error {
	name := "genkit-wasm"
	if p.system == "windows" {
		name += ".exe"
	}
	entries := []entry{{binary, name, 0o755}}
	for _, file := range besides {
		entries = append(entries, entry{file, filepath.Base(file), 0o644})
	}
	if p.system == "windows" {
		return writeFile(base+".zip", func(w io.Writer) error { return writeZip(w, entries, at) })
	}
	return writeFile(base+".tar.gz", func(w io.Writer) error {
		gz := gzip.NewWriter(w)
		return errors.Join(writeTar(gz, entries, at), gz.Close())
	})
}

// writeFile makes a file; one that could not be written whole is an error.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func writeTar(w io.Writer, entries []entry, at time.Time) error {
	tw := tar.NewWriter(w)
	for _, e := range entries {
		content, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		if err := tarFile(tw, e.name, e.mode, content, at); err != nil {
			return err
		}
	}
	return tw.Close()
}

func tarFile(tw *tar.Writer, name string, mode int64, content []byte, at time.Time) error {
	head := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if err := tw.WriteHeader(head); err != nil {
		return err
	}
	_, err := tw.Write(content)
	return err
}

func writeZip(w io.Writer, entries []entry, at time.Time) error {
	zw := zip.NewWriter(w)
	for _, e := range entries {
		content, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		head := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at}
		head.SetMode(os.FileMode(e.mode)) //nolint:gosec // a mode of ours
		f, err := zw.CreateHeader(head)
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
	}
	return zw.Close()
}

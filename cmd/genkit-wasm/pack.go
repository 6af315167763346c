package main

import (
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
)

// pack makes the archive of a directory with a script.
func pack(dir string) (*packdir.Package, error) {
	p, err := packdir.Pack(dir)
	if err != nil {
		return nil, usage(err)
	}
	return p, nil
}

// packSummary says what was packed.
func packSummary(p *packdir.Package) string {
	return fmt.Sprintf("packed %d files, %s in %s; the script begins in %s", len(p.Files), size(p.Bytes), size(p.Archive), p.Entry)
}

// printPacked lists what an upload would send.
func (a *app) printPacked(p *packdir.Package) error {
	if a.json() {
		return a.printJSON(p)
	}
	for _, f := range p.Files {
		if err := a.line("%10s  %s", size(f.Size), f.Name); err != nil {
			return err
		}
	}
	return a.line("%s", packSummary(p))
}

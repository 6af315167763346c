// Command release builds what a release consists of, in one folder: an archive for
// each platform, an image for containers, a bill of materials and check sums.
//
//	go run ./internal/release -version v0.1.0 -out dist
//
// Files are the same, byte for byte, for the same commit and the same Go: times are
// those of the commit, and paths are trimmed. The image is an OCI layout in a tar
// file with the Linux binaries and nothing else:
//
//	podman load -i genkit-wasm_v0.1.0_image.tar
//	podman run --network host -v data:/data IMAGE
//
// It runs as user 65532 and keeps its data in /data. The server listens on loopback only,
// so the image exposes no port: a published one would lead nowhere. Its callers share its
// network, on the host or in the same pod.
//
// Nothing is uploaded, tagged or signed.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platform is a pair of GOOS and GOARCH.
type platform struct{ system, processor string }

func (p platform) String() string { return p.system + "/" + p.processor }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// sbomTool writes a CycloneDX bill of materials from what Go notes in a binary.
const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// besides are the files that every archive holds beside the binary.
var besides = []string{"LICENSE", "README.md", "CHANGELOG.md"}

func main() {
	version := flag.String("version", "", "the version, such as v0.1.0")
	out := flag.String("out", "dist", "the folder, which must be empty or absent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := release(ctx, *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1) //nolint:gocritic // the context has no more to do
	}
}

var semver = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func release(ctx context.Context, version, out string) error {
	if !semver.MatchString(version) {
		return fmt.Errorf("-version is %q, want one such as v0.1.0", version)
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", out)
	}
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	at, err := commitTime(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary folder
	if err := engines(ctx); err != nil {
		return err
	}
	var images []imageBinary
	for i, p := range platforms {
		fmt.Printf("[%d/%d] %s\n", i+1, len(platforms), p)
		binary := filepath.Join(work, p.system+"_"+p.processor)
		if err := build(ctx, p, version, binary); err != nil {
			return err
		}
		base := filepath.Join(out, fmt.Sprintf("genkit-wasm_%s_%s_%s", version, p.system, p.processor))
		if err := pack(base, binary, p, at); err != nil {
			return err
		}
		if err := sbom(ctx, binary, version, base+".cdx.json"); err != nil {
			return err
		}
		if p.system == "linux" {
			images = append(images, imageBinary{platform: p, file: binary})
		}
	}
	if err := writeImage(filepath.Join(out, "genkit-wasm_"+version+"_image.tar"), version, images, at); err != nil {
		return err
	}
	if err := checksums(out); err != nil {
		return err
	}
	// A nested module has a tag of its own, which begins with its folder.
	fmt.Printf("when all of it is right: git tag %s && git tag pdk/go/%s\n", version, version)
	return nil
}

// commitTime is the time that stands in the archives: that of the commit.
func commitTime(ctx context.Context) (time.Time, error) {
	out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("the time of the commit: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// engines gets what the build embeds.
func engines(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "run", "./internal/jsengine/get", "cmd/genkit-wasm/engines")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func build(ctx context.Context, p platform, version, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "javascript", "-ldflags=-s -w -X main.version="+version, "-o", binary, "./cmd/genkit-wasm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.system, "GOARCH="+p.processor)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func sbom(ctx context.Context, binary, version, file string) error {
	cmd := exec.CommandContext(ctx, "go", "run", sbomTool, "bin", "-json", "-noserial", "-version", version, "-output", file, binary)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	return nil
}

// checksums writes SHA256SUMS, in the form that sha256sum -c reads.
func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	var sums strings.Builder
	for _, name := range names {
		sum, err := digest(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644) //nolint:gosec // it is published
}

func digest(file string) (sum string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

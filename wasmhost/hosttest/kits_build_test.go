package hosttest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/hosttest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

const (
	conformance = pdk + "/conformance"
	goKit       = "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

// kits lists the languages of the kits, with what builds a module of theirs from its source: "conformance", "capabilities"
// or "plugin".
var kits = []struct {
	language string
	build    func(t *testing.T, module string) []byte
}{
	{"c", func(t *testing.T, module string) []byte {
		return buildC(t, module, guestbuild.C, "-x", "c", "-std=c11")
	}},
	{"c++", func(t *testing.T, module string) []byte {
		return buildC(t, module, guestbuild.CPP, "-x", "c++", "-std=c++20", "-fno-exceptions", "-fno-rtti")
	}},
	{"go", buildGo},
	{"rust", buildRust},
	{"assemblyscript", buildAssemblyScript},
}

// TestEveryKitPassesEveryVector holds the modules that are written with each kit to the vectors of all three.
func TestEveryKitPassesEveryVector(t *testing.T) {
	for _, kit := range kits {
		if kit.language == "go" { // in worker processes, too, as the prebuilt ones of C are
			t.Run("go", vectorsOfGo)
			continue
		}
		t.Run(kit.language+"/conformance", func(t *testing.T) { hosttest.RunVectors(t, kit.build(t, "conformance"), pdk+"/vectors") })
		t.Run(kit.language+"/capabilities", func(t *testing.T) {
			hosttest.RunCapabilityVectors(t, kit.build(t, "capabilities"), pdk+"/vectors/capabilities")
		})
		t.Run(kit.language+"/plugin", func(t *testing.T) { runPluginVectors(t, wasmhost.Upload{Wasm: kit.build(t, "plugin")}) })
	}
	// A script has no memory of its own to misuse; what it offers is held to the same vectors.
	t.Run("typescript/plugin", func(t *testing.T) {
		source, err := os.ReadFile(conformance + "/ts/plugin.ts")
		require.NoError(t, err)
		runPluginVectors(t, wasmhost.Upload{Wasm: source, Language: script.TypeScript}, func(c *wasmhost.Config) { c.JavaScript = jsenginetest.File(t) })
	})
}

func vectorsOfGo(t *testing.T) {
	conformance, capabilities, plugin := buildGo(t, "conformance"), buildGo(t, "capabilities"), buildGo(t, "plugin")
	inBothModes(t, func(t *testing.T, configure func(*wasmhost.Config)) {
		t.Run("conformance", func(t *testing.T) { hosttest.RunVectors(t, conformance, pdk+"/vectors", configure) })
		t.Run("capabilities", func(t *testing.T) {
			hosttest.RunCapabilityVectors(t, capabilities, pdk+"/vectors/capabilities", configure)
		})
		t.Run("plugin", func(t *testing.T) { runPluginVectors(t, wasmhost.Upload{Wasm: plugin}, configure) })
	})
}

// The prebuilt one keeps the vectors held where there is no compiler; make guests shows that it is what its source makes.
func TestPluginVectorsHoldForTheCModule(t *testing.T) {
	wasm, err := os.ReadFile(conformance + "/c/plugin.wasm")
	require.NoError(t, err)
	inBothModes(t, func(t *testing.T, configure func(*wasmhost.Config)) {
		runPluginVectors(t, wasmhost.Upload{Wasm: wasm}, configure)
	})
}

// toolchain gives the programs that build a language, or ends the test.
func toolchain(t *testing.T, language guestbuild.Language) []string {
	t.Helper()
	for _, tc := range guestbuild.Toolchains(t.Context()) {
		if tc.Language == language && tc.Missing == "" {
			return tc.Paths
		} else if tc.Language == language {
			peer.Missing(t, "%s; %s", tc.Missing, tc.Fix)
		}
	}
	t.Fatalf("nothing builds %s", language)
	return nil
}

// run runs a compiler in a folder of the conformance modules and reads what it has made.
func run(t *testing.T, dir, out string, env []string, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = filepath.Join(conformance, dir), append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	if !filepath.IsAbs(out) {
		out = filepath.Join(cmd.Dir, out)
	}
	wasm, err := os.ReadFile(out)
	require.NoError(t, err)
	return wasm
}

func buildC(t *testing.T, module string, language guestbuild.Language, flags ...string) []byte {
	t.Helper()
	programs := toolchain(t, language)
	object, out := filepath.Join(t.TempDir(), "o"), filepath.Join(t.TempDir(), "wasm")
	args := append(flags, "--target=wasm32", "-nostdlib", "-ffreestanding", "-O1", "-Wall", "-Wextra", "-Werror", "-I", "../../c", "-I", "..", "-c", "-o", object)
	run(t, "c", object, nil, programs[0], append(args, module+".c")...)
	return run(t, "c", out, nil, programs[1], "--no-entry", "--stack-first", "-z", "stack-size=16384", "-o", out, object)
}

func buildGo(t *testing.T, module string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "wasm")
	at := map[string]string{"conformance": ".", "capabilities": "./capabilities", "plugin": goKit + "/internal/pluginguest"}[module]
	return run(t, "go", out, []string{"GOOS=wasip1", "GOARCH=wasm"}, "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, at)
}

func buildRust(t *testing.T, module string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "wasm")
	return run(t, "rust", out, nil, toolchain(t, guestbuild.Rust)[0], "--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib",
		"-D", "warnings", "-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "link-arg=--stack-first", "-o", out, module+".rs")
}

func buildAssemblyScript(t *testing.T, module string) []byte {
	t.Helper()
	if _, err := os.Stat(conformance + "/assemblyscript/node_modules/assemblyscript"); err != nil {
		peer.Missing(t, "make -C pdk/conformance/assemblyscript node_modules brings AssemblyScript's compiler")
	}
	return run(t, "assemblyscript", module+".wasm", nil, "make", "-s", module+".wasm")
}

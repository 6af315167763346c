package sandbox_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// looping is a module whose functions loop: its checks matter.
func looping() []byte {
	return w.Module(w.Types(w.FuncType("", "")), w.Funcs(0), w.Exports(w.Export("ok", 0, 0)),
		w.Code(w.Body("i", 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 10, 0x48, 0x0d, 0, 0x0b)))
}

// A module whose metered form is wrong is neither compiled nor cached, on whatever way it is to run. Who has uploaded it
// learns no more than that; the log has the rest.
func TestNothingRunsUnverified(t *testing.T) {
	parsed, err := inspect.Parse(looping(), inspect.Limits{})
	require.NoError(t, err)
	for name, damage := range map[string]func(*meter.Result){
		"a check less": func(r *meter.Result) {
			r.Wasm = bytes.Replace(r.Wasm, []byte{0x42, 0, 0x59, 0x04, 0x40}, []byte{0x42, 0, 0x53, 0x04, 0x40}, 1)
		},
		"another global for the fuel": func(r *meter.Result) { r.FuelExport = "ok" },
		"bytes that are no module":    func(r *meter.Result) { r.Wasm = r.Wasm[:len(r.Wasm)-1] },
		"no hints":                    func(r *meter.Result) { r.Hints = meter.Hints{} },
	} {
		t.Run(name, func(t *testing.T) {
			dir, log := t.TempDir(), &logged{}
			change := damage
			sb := newSandbox(t, sandbox.Config{
				CacheDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil)),
				Rewrite: func(wasm []byte, m *inspect.Module, opt meter.Options) (*meter.Result, error) {
					res, err := meter.Rewrite(wasm, m, opt)
					if err == nil {
						change(res)
					}
					return res, err
				},
			})
			for _, interpreted := range []bool{false, true} {
				source := sandbox.Source{Wasm: looping(), Module: parsed, Limits: limits(), Interpreter: interpreted}
				change = damage
				_, err := sb.Compile(t.Context(), source)
				require.ErrorIs(t, err, status.ErrInternal)
				e := status.Convert(err)
				assert.True(t, e.Public())
				assert.Equal(t, "the module was refused because its metered form could not be verified; this is a fault of the server", e.Message)
				assert.Contains(t, log.take(), "cause=")
				assert.Empty(t, entries(t, dir))

				change = func(*meter.Result) {}
				m, err := sb.Compile(t.Context(), source)
				require.NoError(t, err)
				_, err = m.Call(t.Context(), sandbox.Call{Export: "ok"})
				require.NoError(t, err)
				m.Close()
				for _, entry := range entries(t, dir) {
					require.NoError(t, os.Remove(entry))
				}
			}
		})
	}
}

// Cache entries that were written without the verifier, or by another version of it, are not used: their authentication
// codes were made with another key.
func TestTheCacheHoldsWhatThisVerifierAccepted(t *testing.T) {
	dir := t.TempDir()
	session(t, dir, sandbox.Config{}, looping())
	files := entries(t, dir)
	require.Len(t, files, 1)
	assert.Empty(t, session(t, dir, sandbox.Config{}, looping()), "it is used again")
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	require.NoError(t, err)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	body := raw[:len(raw)-sha256.Size]
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	require.NoError(t, os.WriteFile(files[0], mac.Sum(body), 0o600))
	assert.Contains(t, session(t, dir, sandbox.Config{}, looping()), "damaged or not ours")
	assert.Empty(t, session(t, dir, sandbox.Config{}, looping()), "it was made anew")
}

package script

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
)

// TransformApart is [Transform] in a process of its own, with limits on time and memory: command is that of
// wasmhost.CompileChild, and empty for this process, in which a script is at most 64 KiB long. It also fails with
// RESOURCE_EXHAUSTED when the text takes more than its size allows. A [Package] is bundled: its positions name the
// archive's files, not file; and it needs a command: FAILED_PRECONDITION where that is empty.
func TransformApart(ctx context.Context, command []string, file string, language Language, source []byte) (*Script, error) {
	most := MaxBytes
	if language == Package {
		most = MaxPackageBytes
	}
	if len(command) == 0 {
		if language == Package {
			return nil, status.Publicf(status.FailedPrecondition, "a script of several files is put together in a process of its own, and this host starts none: it has no Compiler")
		}
		most = maxHere
	}
	if len(source) > most {
		return nil, status.Publicf(status.InvalidArgument, "the script has %d bytes, and may have %d", len(source), most)
	}
	if len(command) == 0 {
		return Transform(file, language, source)
	}
	cpu, memory := allowed(weight(language, len(source)))
	job, err := json.Marshal(task{file, language, len(source)})
	if err != nil {
		return nil, status.Errorf(status.Internal, "transform: %w", err)
	}
	work := &compile.Job{
		Command: command, Env: childEnv + "=" + string(job), What: "transforming the script",
		CPU: cpu, MemoryBytes: memory, OutputBytes: 16*weight(language, len(source)) + 64<<10,
	}
	raw, err := work.Run(ctx, source)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, status.Errorf(status.Internal, "transform: %w", err)
	}
	return a.script()
}

// weight is how many bytes of source an upload may stand for: an archive is packed.
func weight(language Language, bytes int) int {
	if language == Package {
		return min(64<<10+24*bytes, maxBundledBytes)
	}
	return bytes
}

// allowed is what transforming may take: an honest script takes a tenth of it.
func allowed(bytes int) (cpu time.Duration, memory int64) {
	return time.Second + time.Duration(bytes)*4*time.Microsecond, 128<<20 + int64(bytes)*160
}

// childEnv marks the process that transforms a script, and holds its [task].
const childEnv = "GENKIT_WASM_SCRIPT_CHILD"

type task struct {
	File     string   `json:"file"`
	Language Language `json:"language"`
	Bytes    int      `json:"bytes"`
}

// Child is the hook for processes that transform scripts: it does not return in one.
func Child() {
	var t task
	given := os.Getenv(childEnv)
	if given == "" {
		return
	}
	if json.Unmarshal([]byte(given), &t) != nil || t.Bytes > max(MaxBytes, MaxPackageBytes) {
		os.Exit(1)
	}
	cpu, memory := allowed(weight(t.Language, t.Bytes))
	os.Exit(compile.RunJob(cpu, memory, func() error {
		source, err := io.ReadAll(io.LimitReader(os.Stdin, int64(t.Bytes)+1))
		if err != nil || len(source) != t.Bytes {
			return errors.New("the script did not arrive")
		}
		a, err := t.work(source)
		if err != nil {
			a = &answer{Error: status.Convert(err).Message}
		}
		return json.NewEncoder(os.Stdout).Encode(a)
	}))
}

// work transforms or bundles.
func (t task) work(source []byte) (*answer, error) {
	if t.Language != Package {
		return transform(t.File, t.Language, source)
	}
	if err := seal(); err != nil {
		return nil, err
	}
	return bundle(source)
}

package hosttest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/hosttest"
)

var withoutLimits = flag.Bool("loosened", false, "run each hostile case without the limit that contains it, as make vacuity does: minutes")

var only = flag.String("cases", "", "the IDs of the cases that -loosened runs; all when empty")

// limit is a limit that contains some cases, and the changes of the source that switch it
// off. Old occurs once in its file. In new, LOOSE is true while the limit is off, and
// PICK(a, b) is b then and a otherwise: all changes are compiled into one program, and each
// case runs in a process of its own in which one limit is off.
type limit struct {
	says    string // for docs/hostile.md
	cases   string // their IDs
	key     string // by which others name it; none when ""
	also    string // the keys of limits behind this one, which are off as well, with commas
	changes []change
}

type change struct{ file, old, new string }

// name is by which changed sources know the limit, of which n is the place in the list.
func (l *limit) name(n int) string { return cmp.Or(l.key, fmt.Sprint(n)) }

// unshown are cases of which no misbehaviour could be shown, and why.
var unshown = map[string]string{
	"D20": "Go's regular expressions take linear time, and there are no others here",
	"F19": "it is the control of F13 to F18: what is granted works",
}

// held names the limit that contains each case, for docs/hostile.md.
func held(t *testing.T) map[string]string {
	t.Helper()
	by := map[string]string{}
	add := func(id, says string) {
		require.NotContains(t, by, id, "a case twice")
		by[id] = says
	}
	for _, l := range limits {
		for id := range strings.FieldsSeq(l.cases) {
			add(id, l.says)
		}
	}
	for id, why := range unshown {
		add(id, "not shown: "+why)
	}
	for _, c := range hosttest.Corpus() {
		if c.Twin != "" {
			add(c.ID, "WebAssembly's own rules, which the engine keeps: "+c.Twin+" is accepted")
		}
	}
	return by
}

// Each case names what contains it, and is in the list once.
func TestEachCaseNamesItsLimit(t *testing.T) {
	by := held(t)
	for _, c := range hosttest.Corpus() {
		assert.Contains(t, by, c.ID, "no limit is named for the case")
		delete(by, c.ID)
	}
	assert.Empty(t, by, "limits are named for cases that there are not")
	_, err := loosen(t.TempDir())
	require.NoError(t, err)
}

const loosenedVariable = "GENKIT_HOSTTEST_LOOSENED"

// loosenedSource is the package by which changed sources find out what is off.
const loosenedSource = `package loosened

import (
	"os"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
)

var off = strings.Split(os.Getenv("` + loosenedVariable + `"), ",")

// Is reports whether a limit is off.
func Is(limit string) bool { return slices.Contains(off, limit) }

// Environ is what a guest must not see of the process.
func Environ() []string { return os.Environ() }

// Disk is a directory that nobody has granted.
func Disk() sys.FS { return sysfs.DirFS(os.TempDir()) }

// Pick returns loose when the limit is off.
func Pick[T any](limit string, strict, loose T) T {
	if Is(limit) {
		return loose
	}
	return strict
}
`

const modulePath = "github.com/genkit-wasm/genkit-wasm"

var (
	root          = filepath.Join("..", "..")
	packageClause = regexp.MustCompile(`(?m)^package \w+$`)
)

// sources are the texts of the module's files, by name.
type sources map[string]string

func sourcesOf(dir string) (sources, error) {
	all := sources{}
	for _, top := range []string{"engine", "internal", "wasmhost"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			all[filepath.ToSlash(name)] = string(text)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// find returns the file of a change: the one that it names, or, when that has moved, the only
// other one in which its text stands.
func (s sources) find(c change) (string, error) {
	if strings.Count(s[c.file], c.old) == 1 {
		return c.file, nil
	}
	found, file := 0, ""
	for name, text := range s {
		if n := strings.Count(text, c.old); n > 0 {
			found, file = found+n, name
		}
	}
	if found != 1 {
		return "", fmt.Errorf("in %s, and elsewhere, this stands %d times instead of once:\n%s", c.file, found, c.old)
	}
	return file, nil
}

// loosen writes the changed sources to dir, and an overlay for the go command, whose name it
// returns.
func loosen(dir string) (string, error) {
	source, err := sourcesOf(root)
	if err != nil {
		return "", err
	}
	changed := map[string]string{}
	for n, l := range limits {
		for _, c := range l.changes {
			file, err := source.find(c)
			if err != nil {
				return "", fmt.Errorf("%q: %w", l.says, err)
			}
			text, seen := changed[file]
			if !seen {
				text = source[file]
			}
			if strings.Count(text, c.old) != 1 {
				return "", fmt.Errorf("%q: another change is at the same place of %s:\n%s", l.says, file, c.old)
			}
			now := strings.ReplaceAll(c.new, "LOOSE", fmt.Sprintf(`loosened.Is(%q)`, l.name(n)))
			now = strings.ReplaceAll(now, "PICK(", fmt.Sprintf(`loosened.Pick(%q, `, l.name(n)))
			changed[file] = strings.Replace(text, c.old, now, 1)
		}
	}
	top, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	overlay := map[string]string{}
	put := func(name, text string) error {
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		overlay[filepath.Join(top, name)] = to
		return os.WriteFile(to, []byte(text), 0o600)
	}
	if err := put("internal/loosened/loosened.go", loosenedSource); err != nil {
		return "", err
	}
	for name, text := range changed {
		at := packageClause.FindStringIndex(text)
		if err := put(name, text[:at[1]]+"\n\nimport \""+modulePath+"/internal/loosened\"\n"+text[at[1]:]); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, raw, 0o600)
}

// A case that passes without the limit that is to contain it shows nothing. So each one runs
// once without, in a process of its own, and has to fail there: by its own checks, by the
// oracles, or because the process crashes, runs out of memory or does not end.
func TestCasesFailWithoutTheirLimits(t *testing.T) {
	if !*withoutLimits {
		t.Skip("runs each case in a process of its own, which takes minutes: run make vacuity, as the gate does")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux bounds the memory of the processes")
	}
	program := filepath.Join(t.TempDir(), "loosened.test")
	overlay, err := loosen(t.TempDir())
	require.NoError(t, err)
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", program, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	control := runLoosened(t, program, "none", "", 5*time.Minute)
	require.NoError(t, control.err, "with all limits on:\n%s", control.out)

	number := map[string]string{}
	for n, l := range limits {
		for id := range strings.FieldsSeq(l.cases) {
			number[id] = l.name(n) + "," + l.also
		}
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, c := range hosttest.Corpus() {
		n, ok := number[c.ID]
		if !ok {
			continue // it has a twin, or is in unshown
		}
		if *only != "" && !strings.Contains(*only, c.ID) {
			continue
		}
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			r := runLoosened(t, program, n, c.ID, 8*time.Second)
			for again := 0; r.err == nil && again < 2; again++ {
				// Its limit may be one of time, or be met by several calls at once: on a busy machine neither need happen.
				r = runLoosened(t, program, n, c.ID, 8*time.Second)
			}
			switch begun := strings.Contains(r.out, "=== RUN   "+compilerTest+"/"+c.ID+"_"); {
			case !begun:
				t.Errorf("%s: nothing works without the limit, so the case shows nothing:\n%s", c.ID, last(r.out))
			case r.err == nil:
				t.Errorf("%s %s: it passes without its limit, three times", c.ID, c.Says)
			default:
				t.Logf("%s %s: %s", c.ID, c.Says, r.why())
			}
		})
	}
	wg.Wait()
}

const compilerTest = "TestTheHostileCorpusIsContained/compiler"

// outcome is how a process ended.
type outcome struct {
	out  string
	err  error
	late bool
}

// why is a line that says how the case failed.
func (o outcome) why() string {
	if o.late {
		return "it did not end"
	}
	for line := range strings.Lines(o.out) {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"Error:", "panic:", "fatal error:", "goroutines are left", "memory rose", "a secret got out", "a stack of the host"} {
			if strings.Contains(line, mark) {
				return fmt.Sprintf("%.150s", line)
			}
		}
	}
	return o.err.Error()
}

func last(text string) string { return text[max(0, len(text)-4000):] }

// runLoosened runs one case, or all for "", with a limit off.
func runLoosened(t *testing.T, program, number, id string, patience time.Duration) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pick := "^TestTheHostileCorpusIsContained$/^compiler$"
	if id != "" {
		pick += "/^(rehearsal|" + id + "_)"
	}
	const bounded = `ulimit -d 4194304 && exec "$0" "$@"`
	cmd := exec.CommandContext(ctx, "sh", "-c", bounded, program, "-test.run", pick, "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), loosenedVariable+"="+number)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return outcome{out.String(), err, ctx.Err() != nil}
}

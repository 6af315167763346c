package secrets_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

const (
	crashEnv = "GENKIT_WASM_TEST_SECRETS_IN"
	// crashKeyFile holds a key of this test alone.
	crashKeyFile = "key"
)

// TestMain is also the child of [TestNoKillLosesASecret]: it changes secrets until it is
// killed, and says before and after each change what it does.
func TestMain(m *testing.M) {
	path := os.Getenv(crashEnv)
	if path == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := changeSecrets(context.Background(), path); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
}

func openIn(ctx context.Context, path string) (*secrets.Store, error) {
	text, err := os.ReadFile(filepath.Join(path, crashKeyFile))
	if err != nil {
		return nil, err
	}
	k, err := secrets.ParseKeys(text)
	if err != nil {
		return nil, err
	}
	return secrets.Open(ctx, secrets.Config{
		Path: filepath.Join(path, "secrets"), Keys: k,
		TenantID: func(tenant string) (string, error) { return "id-of-" + tenant, nil },
	})
}

func changeSecrets(ctx context.Context, path string) error {
	s, err := openIn(ctx, path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		what, tenant, name, value := "set", fmt.Sprintf("t%d", rand.N(2)), fmt.Sprintf("n%d", rand.N(3)), fmt.Sprintf("value-%d-%d", os.Getpid(), i)
		switch rand.N(8) {
		case 0:
			what = "delete"
		case 1:
			what = "drop"
		}
		line := strings.Join([]string{what, tenant, name, value}, " ")
		fmt.Fprintln(os.Stdout, "begin", line)
		switch what {
		case "set":
			_, _, err = s.Put(ctx, tenant, secrets.Secret, name, secret.New(value), "")
		case "delete":
			if err = s.Delete(ctx, tenant, secrets.Secret, name, ""); errors.Is(err, status.ErrNotFound) {
				err = nil
			}
		case "drop":
			err = s.Drop(ctx, tenant)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "done", line)
	}
}

// apply does to the expected state what a line of the child tells.
func apply(state map[string]string, change []string) {
	what, tenant, name, value := change[0], change[1], change[2], change[3]
	switch what {
	case "set":
		state[tenant+"/"+name] = value
	case "delete":
		delete(state, tenant+"/"+name)
	case "drop":
		maps.DeleteFunc(state, func(key, _ string) bool { return strings.HasPrefix(key, tenant+"/") })
	}
}

// TestNoKillLosesASecret kills a process that changes secrets, after some of its lines, until
// it has acknowledged 300 changes. After each kill all that was acknowledged is there, and the
// last change is there whole or not at all.
func TestNoKillLosesASecret(t *testing.T) {
	want := 300
	if testing.Short() {
		want = 50
	}
	path, state, done, kills := t.TempDir(), map[string]string{}, 0, 0
	require.NoError(t, os.WriteFile(filepath.Join(path, crashKeyFile), []byte(newKey(t)), 0o600))
	for ; done < want && kills < 10*want; kills++ {
		acknowledged, under := killed(t, path, 1+rand.N(60))
		done += len(acknowledged)
		for _, change := range acknowledged {
			apply(state, change)
		}
		after := maps.Clone(state)
		if under != nil {
			apply(after, under)
		}
		s, err := openIn(t.Context(), path)
		require.NoError(t, err)
		found := map[string]string{}
		for _, tenant := range []string{"t0", "t1"} {
			entries, err := s.List(t.Context(), tenant, secrets.Secret)
			require.NoError(t, err)
			for _, e := range entries {
				v, err := s.Source(nil).Secret(t.Context(), tenant, e.Name)
				require.NoError(t, err)
				found[tenant+"/"+e.Name] = v.Reveal()
			}
		}
		require.NoError(t, s.Close())
		if !assert.Contains(t, []map[string]string{state, after}, found, "the last change was %v", under) {
			return
		}
		state = found
	}
	t.Logf("%d processes killed, %d changes acknowledged", kills, done)
	require.GreaterOrEqual(t, done, want)
}

// killed lets a child tell so many lines, kills it where it is then, and returns the changes
// that it has acknowledged and the one that was under way.
func killed(t *testing.T, path string, lines int) (acknowledged [][]string, under []string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for r, n := bufio.NewReader(out), 0; ; n++ {
		if n == lines {
			require.NoError(t, cmd.Process.Kill()) // what it has told meanwhile is read as well
		}
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line that the kill has cut is none
		}
		require.False(t, strings.HasPrefix(line, "error"), line)
		f := strings.Fields(line)
		require.Len(t, f, 5, line)
		if f[0] == "begin" {
			under = f[1:]
			continue
		}
		acknowledged, under = append(acknowledged, f[1:]), nil
	}
	_ = cmd.Wait() // it was killed
	return acknowledged, under
}

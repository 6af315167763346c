package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

const crashEnv = "GENKIT_WASM_TEST_TENANTS_IN"

// TestMain is also the child of [TestNoKillLosesATenant]: it changes tenants until it is
// killed, and says before and after each change what it does.
func TestMain(m *testing.M) {
	path := os.Getenv(crashEnv)
	if path == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := changeTenants(context.Background(), path); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
}

// served is the service with stores in a directory.
type served struct {
	*admin.Tenants
	host    *wasmhost.Host
	modules *module.Dir
	store   *admin.Dir
}

func serve(ctx context.Context, path string) (*served, error) {
	s := &served{}
	var err error
	if s.modules, err = module.OpenDir(filepath.Join(path, "modules")); err != nil {
		return nil, err
	}
	if s.store, err = admin.OpenDir(filepath.Join(path, "tenants")); err != nil {
		return nil, err
	}
	if s.Tenants, err = admin.Open(ctx, admin.Config{Store: s.store}); err != nil {
		return nil, err
	}
	s.host, err = s.Start(ctx, wasmhost.Config{Store: s.modules, CacheDir: filepath.Join(path, "cache")})
	return s, err
}

func (s *served) end(t *testing.T) {
	t.Helper()
	s.Close()
	require.NoError(t, s.host.Close(context.Background()))
	require.NoError(t, s.store.Close())
	require.NoError(t, s.modules.Close())
}

// change is one change of a tenant, as the child tells it.
type change struct{ what, name, arg string }

// apply does to the expected state what the change does to the tenants: a tenant's state and
// display name, or nothing.
func (c change) apply(state map[string]string) {
	_, text, _ := strings.Cut(state[c.name], " ")
	switch c.what {
	case "create":
		state[c.name] = "active " + c.arg
	case "set":
		was, _, _ := strings.Cut(state[c.name], " ")
		state[c.name] = was + " " + c.arg
	case "suspend":
		state[c.name] = "suspended " + text
	case "resume":
		state[c.name] = "active " + text
	case "delete":
		delete(state, c.name)
	}
}

func changeTenants(ctx context.Context, path string) error {
	wasm, err := os.ReadFile("../../../examples/calc/calc.wasm")
	if err != nil {
		return err
	}
	s, err := serve(ctx, path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		c := change{name: fmt.Sprintf("t%d", rand.N(4)), arg: fmt.Sprintf("%d-%d", os.Getpid(), i)}
		now, err := s.Get(c.name)
		switch {
		case status.Of(err) == status.NotFound:
			c.what = "create"
		case now.State == admin.Deleting:
			continue
		default:
			c.what = []string{"set", "set", "suspend", "resume", "delete"}[rand.N(5)]
		}
		fmt.Fprintln(os.Stdout, "begin", c.what, c.name, c.arg)
		switch c.what {
		case "create":
			_, err = s.Create(ctx, c.name, admin.Settings{DisplayName: c.arg}, "")
		case "set":
			_, err = s.Change(ctx, c.name, "", func(was admin.Settings) (admin.Settings, error) {
				was.DisplayName = c.arg
				return was, nil
			})
		case "suspend":
			_, err = s.Suspend(ctx, c.name, "")
		case "resume":
			_, err = s.Resume(ctx, c.name, "")
		case "delete":
			_, err = s.Delete(ctx, c.name, "")
		}
		if err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		fmt.Fprintln(os.Stdout, "done", c.what, c.name, c.arg)
		if c.what == "create" {
			if _, err := s.host.Load(ctx, c.name, wasmhost.Upload{Name: "calc", Wasm: wasm}); err != nil {
				return err
			}
		}
	}
}

// TestNoKillLosesATenant kills a process that changes tenants, at random moments, until it
// has acknowledged 200 changes. After each kill all that was acknowledged is there, the last
// change is there whole or not at all, deletions go on to their end, and the host serves what
// is stored.
func TestNoKillLosesATenant(t *testing.T) {
	want := 200
	if testing.Short() {
		want = 20
	}
	path, state, done, kills := t.TempDir(), map[string]string{}, 0, 0
	for ; done < want && kills < 20*want; kills++ {
		acknowledged, under := killed(t, path)
		done += len(acknowledged)
		for _, c := range acknowledged {
			c.apply(state)
		}
		s, err := serve(t.Context(), path)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return settled(s) }, 20*time.Second, time.Millisecond)
		found := observed(t, s)
		after := maps.Clone(state)
		if under != nil {
			under.apply(after)
		}
		if !assert.Contains(t, []map[string]string{state, after}, found, "the last change was %v", under) {
			return
		}
		state = found
		s.end(t)
	}
	t.Logf("%d processes killed, %d changes acknowledged", kills, done)
	require.GreaterOrEqual(t, done, want)
}

// settled reports whether no deletion is under way.
func settled(s *served) bool {
	list, _ := s.Operations("", 1000)
	for _, o := range list {
		if o.State != admin.Succeeded {
			return false
		}
	}
	return true
}

// observed reads what there is, and checks that store, service, host and modules agree.
func observed(t *testing.T, s *served) map[string]string {
	t.Helper()
	found := map[string]string{}
	all, _ := s.List("", 100)
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
		if one.Name != wasmhost.DefaultTenant {
			found[one.Name] = string(one.State) + " " + one.DisplayName
		}
		assert.Empty(t, one.Problem)
		_, done, err := s.host.BeginRun(t.Context(), one.Name)
		assert.Equal(t, one.State == admin.Active, err == nil, one.Name)
		if err == nil {
			done()
		}
	}
	assert.Equal(t, names, s.host.Tenants())
	records, err := s.modules.Current(t.Context())
	require.NoError(t, err)
	for _, rec := range records {
		assert.Contains(t, names, rec.Tenant, "modules of a tenant that is gone")
		assert.Empty(t, rec.Problem)
	}
	return found
}

// killed lets a child change tenants for a moment, and returns the changes that it has
// acknowledged and the one that was under way.
func killed(t *testing.T, path string) (acknowledged []change, under *change) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(20*time.Millisecond+rand.N(400*time.Millisecond), func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that the kill has cut is none
		}
		require.False(t, strings.HasPrefix(line, "error"), line)
		f := strings.Fields(line)
		require.Len(t, f, 4, line)
		c := change{f[1], f[2], f[3]}
		if f[0] == "begin" {
			under = &c
			continue
		}
		acknowledged, under = append(acknowledged, c), nil
	}
	_ = cmd.Wait() // it was killed
	return acknowledged, under
}

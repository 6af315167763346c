package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// confined is logged when the first worker process of a server starts.
const confined = "worker processes are confined"

// A server with several tenants, or one that asks who calls, keeps their modules apart unless
// told otherwise, and another with a single tenant does when told so.
func TestSeveralTenantsAreKeptApartByDefault(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the default elsewhere is the server's own process")
	}
	for name, c := range map[string]struct {
		args  []string
		apart bool
	}{
		"one tenant":                        {nil, false},
		"one tenant, named twice":           {[]string{"--tenant", "default"}, false},
		"one tenant, apart":                 {[]string{"--isolation", "process"}, true},
		"a server for customers to come":    {[]string{"--auth"}, true},
		"the same, together":                {[]string{"--auth", "--isolation", "in-process"}, false},
		"two tenants":                       {[]string{"--tenant", "acme"}, true},
		"two tenants, together":             {[]string{"--tenant", "acme", "--isolation", "in-process"}, false},
		"two tenants, in a group of theirs": {[]string{"--tenant", "acme", "--isolation-group", "g=acme,default"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, t.TempDir(), c.args...)
			p.key = tokenForm.FindString(p.printed)
			up := p.do("upload", calcFile)
			require.Equal(t, exitOK, up.exit, up.err)
			require.Equal(t, "{\"sum\":3}\n", p.do("call", "calc/add", "--input", `{"a":1,"b":2}`).out)
			if c.apart {
				assert.Contains(t, p.log.String(), confined)
			} else {
				assert.NotContains(t, p.log.String(), confined)
			}
		})
	}
}

// Where worker processes don't work, the default falls back to none and logs it; asked
// for by a flag, it is an error.
func TestWithoutWorkersADefaultGivesWayAndAChoiceDoesNot(t *testing.T) {
	_, log := startLogged(t, "--tenant", "acme") // by a program that has no way to start itself again
	assert.Contains(t, log.String(), "in-process")
	assert.Contains(t, log.String(), "would reach every tenant")
	for _, args := range [][]string{{"--isolation", "process"}, {"--isolation-group", "g=default"}} {
		got := cli(t, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", t.TempDir()}, args...)...)
		assert.Equal(t, exitFailed, got.exit)
		assert.Contains(t, got.err, "does not work here")
		assert.Contains(t, got.err, "--isolation in-process")
	}
	got := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--isolation", "in-process", "--isolation-group", "g=default")
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "--isolation-group is for --isolation process")
}

// Tenants that come and go while the server runs have worker processes of their own, too.
func TestTenantsThatComeAtRunTimeAreKeptApart(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("worker processes are confined on Linux alone")
	}
	p := serve(t, t.TempDir(), "--isolation", "process")
	add := func() outcome { return p.do("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`) }
	for range 2 {
		require.Equal(t, exitOK, p.do("tenant", "create", "acme").exit)
		assert.Equal(t, exitNotFound, add().exit, "nothing is left of an earlier one")
		up := p.do("upload", calcFile, "--tenant", "acme")
		require.Equal(t, exitOK, up.exit, up.err)
		require.Equal(t, "{\"sum\":3}\n", add().out)
		require.Equal(t, exitOK, p.do("tenant", "suspend", "acme").exit)
		require.Equal(t, exitFailed, add().exit)
		require.Equal(t, exitOK, p.do("tenant", "resume", "acme").exit)
		require.Equal(t, "{\"sum\":3}\n", add().out)
		require.Equal(t, exitOK, p.do("tenant", "rm", "acme").exit)
	}
	assert.Contains(t, p.log.String(), confined)
	assert.NotContains(t, p.log.String(), "ERROR")
}

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// completed are the words that a shell is offered, and cobra's directive behind them.
func completed(o outcome) string { return strings.ReplaceAll(strings.TrimSpace(o.out), "\n", " ") }

const (
	files0 = ":0" // a shell may offer files
	none4  = ":4" // and here it may not
)

// Shells are offered what there is: commands, flags, languages, and the names of a server's tenants.
func TestShellsAreOfferedWhatThereIs(t *testing.T) {
	all := answer(http.StatusOK, `{"tenants":[{"name":"acme"},{"name":"default"},{"name":"adept"}],"modules":[{"name":"calc"}],"keys":[{"name":"laptop"},{"name":"ci"}]}`)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"commands":                        {[]string{"ver"}, "version\tPrint the version versions\tList a module's revisions " + none4},
		"commands of a command":           {[]string{"tenant", "su"}, "suspend\tLet nothing of a tenant run " + none4},
		"languages":                       {[]string{"new", ""}, "go ts js rust c cpp " + none4},
		"no second language":              {[]string{"new", "go", ""}, none4},
		"formats of the output":           {[]string{"ls", "--output", ""}, "table json " + none4},
		"tenants of a flag":               {[]string{"ls", "--server", "URL", "--tenant", "a"}, "acme adept " + none4},
		"tenants of a flag of usage":      {[]string{"usage", "--server", "URL", "--tenant", "d"}, "default " + none4},
		"tenants as arguments":            {[]string{"tenant", "show", "--server", "URL", "ac"}, "acme " + none4},
		"no second tenant":                {[]string{"tenant", "show", "--server", "URL", "acme", ""}, none4},
		"no tenants of what is no server": {[]string{"tenant", "rm", "--server", "http://127.0.0.1:1", ""}, none4},
		"no tenants of what is no URL":    {[]string{"tenant", "rm", "--server", "ftp://x", ""}, none4},
		"modules":                         {[]string{"rm", "--server", "URL", "--tenant", "acme", ""}, "calc " + none4},
		"modules of versions":             {[]string{"versions", "--server", "URL", "c"}, "calc " + none4},
		"modules to roll back":            {[]string{"rollback", "--server", "URL", ""}, "calc " + none4},
		"keys to revoke":                  {[]string{"key", "revoke", "--server", "URL", "l"}, "laptop " + none4},
		"keys to rotate":                  {[]string{"key", "rotate", "--server", "URL", ""}, "laptop ci " + none4},
		"files":                           {[]string{"upload", ""}, files0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := startStandIn(t, all)
			args := []string{"__complete"}
			for _, arg := range test.args {
				args = append(args, strings.ReplaceAll(arg, "URL", s.url))
			}
			assert.Equal(t, test.want, completed(cli(t, args...)))
		})
	}
	t.Setenv(profileEnv, "none")
	s, _ := startStandIn(t, all)
	assert.Equal(t, none4, completed(cli(t, "__complete", "tenant", "show", "--server", s.url, "")), "of a profile that is not there")
	assert.Empty(t, s.asked)
}

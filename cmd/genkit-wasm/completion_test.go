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
	all := answer(http.StatusOK, `{"tenants":[{"name":"acme"},{"name":"default"},{"name":"adept"}],
		"modules":[{"name":"calc","values":["/format/calc/roman","/resource/calc/x"]},{"name":"evil$(id)"},{"name":"evil\u001b[2J"}],
		"keys":[{"id":"aaaaaaaaaaaaaaaa","name":"laptop"},{"id":"bbbbbbbbbbbbbbbb","name":"ci"},{"id":"cccccccccccccccc","name":"twin"},{"id":"dddddddddddddddd","name":"twin"}],
		"operations":[{"id":"op-1"},{"id":"op-2"}],"secrets":[{"name":"WEATHER_KEY"}],"credentials":[{"name":"openai"}],"versions":[{"revision":2},{"revision":1}],
		"actions":[{"type":"tool","name":"calc/add"},{"type":"tool","name":"calc/sub"},{"type":"tool","name":"bare"},{"type":"flow","name":"menu"},{"type":"model","name":"test/scripted"},{"type":"embedder","name":"words"}],
		"middleware":[{"name":"retry"},{"name":"cache"}],
		"entries":[{"who":"key:aaaaaaaaaaaaaaaa","what":"putModule"},{"who":"https://id#ann","what":"signIn"},{"what":"putModule"}]}`)
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
		"keys to rotate":                  {[]string{"key", "rotate", "--server", "URL", ""}, "laptop ci cccccccccccccccc dddddddddddddddd " + none4},
		"keys of one name":                {[]string{"key", "revoke", "--server", "URL", ""}, "laptop ci cccccccccccccccc dddddddddddddddd " + none4},
		"operations":                      {[]string{"tenant", "operations", "--server", "URL", "o"}, "op-1 op-2 " + none4},
		"secrets to remove":               {[]string{"secret", "rm", "--server", "URL", ""}, "WEATHER_KEY " + none4},
		"secrets to set":                  {[]string{"secret", "set", "--server", "URL", "W"}, "WEATHER_KEY " + none4},
		"the file of a secret":            {[]string{"secret", "set", "--server", "URL", "W", ""}, files0},
		"credentials":                     {[]string{"credential", "rm", "--server", "URL", "o"}, "openai " + none4},
		"revisions":                       {[]string{"rollback", "calc", "--server", "URL", "--revision", ""}, "2 1 " + none4},
		"revisions of no module":          {[]string{"rollback", "--server", "URL", "--revision", ""}, none4},
		"tools":                           {[]string{"call", "--server", "URL", "calc/"}, "calc/add calc/sub " + none4},
		"other actions":                   {[]string{"call", "--server", "URL", "/e"}, "/embedder/words " + none4},
		"flows":                           {[]string{"flow", "--server", "URL", ""}, "menu " + none4},
		"models":                          {[]string{"generate", "--server", "URL", "--model", ""}, "test/scripted " + none4},
		"tools of a model":                {[]string{"generate", "--server", "URL", "--tool", ""}, "calc/add calc/sub bare calc/* " + none4},
		"middleware":                      {[]string{"generate", "--server", "URL", "--use", "r"}, "retry " + none4},
		"formats":                         {[]string{"generate", "--server", "URL", "--format", ""}, "text json array enum jsonl calc/roman " + none4},
		"formats without a server":        {[]string{"generate", "--server", "http://127.0.0.1:1", "--format", "json"}, "json jsonl " + none4},
		"scopes":                          {[]string{"key", "create", "x", "--server", "URL", "--scope", "ac"}, "acme:manage acme:invoke acme:read " + none4},
		"the scope of all":                {[]string{"key", "create", "x", "--server", "URL", "--scope", "ad"}, "admin adept:manage adept:invoke adept:read " + none4},
		"who did something":               {[]string{"audit", "--server", "URL", "--who", ""}, "https://id#ann key:aaaaaaaaaaaaaaaa " + none4},
		"what was done":                   {[]string{"audit", "--server", "URL", "--what", ""}, "putModule signIn " + none4},
		"groups of usage":                 {[]string{"usage", "--by", "mo"}, "module model :6"},
		"the next group of usage":         {[]string{"usage", "--by", "tool,t"}, "tool,tenant :6"},
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

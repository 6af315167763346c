// Package mcp makes the tools, prompts and resources of servers of the Model Context Protocol usable here: it is a client of
// theirs, on the standard input and output of a process or over streamable HTTP.
//
// It owns the connections: processes are started when they are first needed, restarted with a back-off and killed with all that
// they have started. A [Host] is a dynamic action provider, as Genkit's defineMcpHost makes one: a tool of the server "fs" is
// "mcp:tool/fs/read_file", and "mcp:tool/fs/*" are all of them. Use:
//
//	host, err := mcp.NewHost(mcp.HostConfig{Servers: map[string]mcp.ServerConfig{
//		"fs": {Command: "npx", Args: []string{"-y", "@modelcontextprotocol/server-filesystem", "/data"}},
//	}})
//	defer host.Close()
//	err = eng.AddProvider(host) // then: engine.WithTools(tool.Name("mcp:tool/fs/*"))
//
// A server is trusted no more than a WebAssembly module: what it sends is bounded, cleaned and checked, it sees a few variables of
// the environment, and one that fails or hangs is an error of its own actions and of no others.
// (Genkit: js/plugins/mcp and go/plugins/mcp.)
//
// Experimental: the form may change in any minor version.
package mcp

import (
	"cmp"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Defaults of a [HostConfig].
const (
	// DefaultName is the name of a host's provider.
	DefaultName = "mcp"
	// DefaultCacheTTL is how long the lists of a server are kept, unless it tells of a change before.
	DefaultCacheTTL = time.Minute
	// DefaultConnectTimeout bounds how long a server may take to start and to list what it has.
	DefaultConnectTimeout = 30 * time.Second
	// DefaultCallTimeout bounds a call.
	DefaultCallTimeout = time.Minute
	// DefaultMaxMessageBytes bounds a message of a server, such as the result of a call.
	DefaultMaxMessageBytes = 8 << 20
)

// HostConfig configures a [Host]. Zero values mean the defaults.
type HostConfig struct {
	// Name is the provider's name, before the colon of references; it holds no colon and no slash.
	Name string
	// Servers are the servers by name: a letter or digit and at most 63 more, - and _ among them.
	Servers map[string]ServerConfig
	// Version is this program's, for the servers.
	Version string
	// CacheTTL is how long a server's lists are kept; less than 0 has each use ask the server.
	CacheTTL time.Duration
	// ConnectTimeout, CallTimeout and MaxMessageBytes are the limits of a server that sets none itself.
	ConnectTimeout, CallTimeout time.Duration
	MaxMessageBytes             int64
	// Logger is told of failures and of what servers write to their standard error; nil for nobody.
	Logger *slog.Logger
}

// ServerConfig says how a server is reached: by a Command that is started, or at a URL.
type ServerConfig struct {
	// Command is a program, which is looked for in PATH, and Args are its arguments.
	Command string
	Args    []string
	// Env are its variables of the environment, beside those that every server gets: PATH, HOME, USER, LOGNAME, SHELL, TERM,
	// LANG, TZ, TMPDIR and LC_… of this process.
	Env map[string]string
	// Dir is its working directory; empty for this process's.
	Dir string

	// URL is an endpoint of streamable HTTP, and Headers go with every request.
	URL     string
	Headers map[string]string

	// Disabled leaves the server out.
	Disabled bool
	// Timeout bounds a call; 0 means the host's.
	Timeout time.Duration
}

var (
	serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	hostName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
)

func (c *HostConfig) normalize() error {
	c.Name = cmp.Or(c.Name, DefaultName)
	if !hostName.MatchString(c.Name) {
		return status.Publicf(status.InvalidArgument, "the name %q of an MCP host: want a letter or digit and at most 63 more of letters, digits, dots, - and _", abi.Line(c.Name, 80))
	}
	c.CacheTTL = cmp.Or(c.CacheTTL, DefaultCacheTTL)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, DefaultMaxMessageBytes)
	if c.ConnectTimeout < 0 || c.CallTimeout < 0 || c.MaxMessageBytes < 0 {
		return status.Publicf(status.InvalidArgument, "MCP host %q: a limit is negative", c.Name)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Check tells of a configuration that [NewHost] would refuse, with INVALID_ARGUMENT.
func (c ServerConfig) Check(name string) error {
	if !serverName.MatchString(name) {
		return status.Publicf(status.InvalidArgument, "the name %q of an MCP server: want a letter or digit and at most 63 more of letters, digits, - and _", abi.Line(name, 80))
	}
	bad := func(why string) error {
		return status.Publicf(status.InvalidArgument, "MCP server %q: %s", name, why)
	}
	switch {
	case c.Command == "" && c.URL == "":
		return bad("want a command or a url")
	case c.Command != "" && c.URL != "":
		return bad("it has both a command and a url")
	case c.URL == "" && len(c.Headers) > 0:
		return bad("headers go with a url")
	case c.Timeout < 0:
		return bad("its timeout is negative")
	}
	if c.URL != "" {
		if len(c.Args) > 0 || len(c.Env) > 0 || c.Dir != "" {
			return bad("args, env and a directory go with a command")
		}
		if why := checkEndpoint(c.URL, c.Headers); why != "" {
			return bad(why)
		}
	}
	for key := range c.Env {
		if key == "" || slices.ContainsFunc([]byte(key), func(b byte) bool { return b == '=' || b == 0 }) {
			return bad("a variable of the environment has no usable name")
		}
	}
	return nil
}

package mcp

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// maxServers bounds a file of servers.
const maxServers = 256

// file is the format of configuration that Claude Desktop, Claude Code, Cursor, Windsurf and others share, and VS Code's, in which the
// servers stand under another key.
type file struct {
	MCPServers map[string]entry `json:"mcpServers"`
	Servers    map[string]entry `json:"servers"`
}

// entry is a server in a file. Members that programs add for themselves are passed over.
type entry struct {
	Type     string            `json:"type"`
	Command  string            `json:"command"`
	Args     []string          `json:"args"`
	Env      map[string]*any   `json:"env"`
	Cwd      string            `json:"cwd"`
	URL      string            `json:"url"`
	Server   string            `json:"serverUrl"` // Windsurf's url
	HTTP     string            `json:"httpUrl"`   // Gemini CLI's
	Headers  map[string]string `json:"headers"`
	Disabled bool              `json:"disabled"` // Cline's
	Enabled  *bool             `json:"enabled"`
	Timeout  float64           `json:"timeout"` // milliseconds, as in Gemini CLI
}

// ParseServers reads servers from a file in the format that Claude Desktop, Cursor and VS Code share:
//
//	{"mcpServers": {NAME: {"command", "args"?, "env"?, "cwd"?} | {"url", "headers"?}}}
//
// "servers" may stand for "mcpServers", and there may be comments and commas at the end of lists, as in VS Code. ${NAME},
// ${NAME:-DEFAULT} and ${env:NAME} in commands, arguments, variables, URLs and headers stand for what lookup returns. Members that are not
// known are passed over. INVALID_ARGUMENT for a file that is none, a variable that is not set, a ${input:…} and a server that can't work;
// the error names the server.
func ParseServers(raw []byte, lookup func(name string) (string, bool)) (map[string]ServerConfig, error) {
	var f file
	if err := json.Unmarshal(plainJSON(raw), &f); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "MCP servers: %s", abi.Line(err.Error(), maxErrorText))
	}
	if f.MCPServers == nil && f.Servers == nil {
		return nil, status.Publicf(status.InvalidArgument, `MCP servers: want {"mcpServers": {NAME: {"command": …} or {"url": …}}}`)
	}
	entries := maps.Clone(f.MCPServers)
	if entries == nil {
		entries = map[string]entry{}
	}
	for name, e := range f.Servers {
		if _, twice := entries[name]; twice {
			return nil, status.Publicf(status.InvalidArgument, "MCP server %q: it is there twice", abi.Line(name, 80))
		}
		entries[name] = e
	}
	if len(entries) > maxServers {
		return nil, status.Publicf(status.InvalidArgument, "MCP servers: there are %d, more than %d", len(entries), maxServers)
	}
	servers := map[string]ServerConfig{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		s, err := entries[name].server(name, lookup)
		if err != nil {
			return nil, err
		}
		servers[name] = s
	}
	return servers, nil
}

func (e entry) server(name string, lookup func(string) (string, bool)) (ServerConfig, error) {
	s := ServerConfig{
		Command: e.Command, Args: slices.Clone(e.Args), Dir: e.Cwd, Headers: maps.Clone(e.Headers), Disabled: e.Disabled || e.Enabled != nil && !*e.Enabled,
		Timeout: time.Duration(e.Timeout * float64(time.Millisecond)),
	}
	for _, url := range []string{e.URL, e.Server, e.HTTP} {
		if s.URL == "" {
			s.URL = url
		}
	}
	bad := func(why string) (ServerConfig, error) {
		return s, status.Publicf(status.InvalidArgument, "MCP server %q: %s", abi.Line(name, 80), why)
	}
	switch strings.ToLower(strings.ReplaceAll(e.Type, "-", "")) {
	case "", "stdio", "http", "streamablehttp":
	case "sse":
		return bad("the transport sse of 2024 is not spoken; most servers have streamable HTTP at another path: name that, with the type http")
	default:
		return bad("its type is " + abi.Line(e.Type, 40) + ", want stdio or http")
	}
	for key, value := range e.Env {
		text, ok := textOf(value)
		if !ok {
			return bad("the variable " + abi.Line(key, 80) + " is no text")
		}
		if s.Env == nil {
			s.Env = map[string]string{}
		}
		s.Env[key] = text
	}
	if s.Disabled {
		return s, nil // its variables need not be set
	}
	if why := s.expand(lookup); why != "" {
		return bad(why)
	}
	return s, s.Check(name)
}

// textOf is a value of the environment as text: people write numbers and booleans, too.
func textOf(value *any) (string, bool) {
	if value == nil {
		return "", false
	}
	switch v := (*value).(type) {
	case string:
		return v, true
	case float64, bool:
		raw, err := json.Marshal(v)
		return string(raw), err == nil
	}
	return "", false
}

// expand puts in the values of variables, and tells why it can't.
func (c *ServerConfig) expand(lookup func(string) (string, bool)) string {
	why := ""
	put := func(text string) string {
		return reference.ReplaceAllStringFunc(text, func(found string) string {
			value, problem := valueOf(found[2:len(found)-1], lookup)
			if why == "" {
				why = problem
			}
			return value
		})
	}
	c.Command, c.Dir, c.URL = put(c.Command), put(c.Dir), put(c.URL)
	for i := range c.Args {
		c.Args[i] = put(c.Args[i])
	}
	for _, values := range []map[string]string{c.Env, c.Headers} {
		for key, value := range values {
			values[key] = put(value)
		}
	}
	return why
}

var reference = regexp.MustCompile(`\$\{[^{}$]*\}`)

func valueOf(text string, lookup func(string) (string, bool)) (value, why string) {
	if kind, name, ok := strings.Cut(text, ":"); ok && !strings.HasPrefix(name, "-") {
		switch kind {
		case "env":
			if value, ok = lookup(name); !ok {
				return "", "the variable " + abi.Line(name, 80) + " is not set"
			}
			return value, ""
		case "input":
			return "", "${" + abi.Line(text, 80) + "} is asked of the user by an editor; write ${NAME}, for a variable of the environment"
		}
	}
	name, otherwise, has := strings.Cut(text, ":-")
	if value, ok := lookup(name); ok && (value != "" || !has) {
		return value, ""
	}
	if !has {
		return "", "the variable " + abi.Line(name, 80) + " is not set"
	}
	return otherwise, ""
}

// plainJSON is JSON with comments, and commas before closing brackets, as JSON: both become spaces, so that places stay what they are.
func plainJSON(raw []byte) []byte {
	out := slices.Clone(raw)
	comma := -1 // the place of a comma that nothing has followed yet
	for i := 0; i < len(out); i++ {
		switch b := out[i]; {
		case b == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
			comma = -1
		case b == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			i = blank(out, i) - 1
		case b == ',':
			comma = i
		case (b == '}' || b == ']') && comma >= 0:
			out[comma], comma = ' ', -1
		case b != ' ' && b != '\t' && b != '\r' && b != '\n':
			comma = -1
		}
	}
	return out
}

// blank writes spaces over the comment at i, and returns where it ends.
func blank(out []byte, i int) int {
	mark, skip := "\n", 0
	if out[i+1] == '*' {
		mark, skip = "*/", 2
	}
	end := len(out)
	if n := bytes.Index(out[i+skip:], []byte(mark)); n >= 0 {
		end = i + skip + n + skip
	}
	for ; i < end; i++ {
		if out[i] != '\n' {
			out[i] = ' '
		}
	}
	return end
}

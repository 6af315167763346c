package main

import (
	"log/slog"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

const maxMCPConfig = 1 << 20

// mcpServers reads the files of --mcp-config: the servers of each tenant.
func (f *serveFlags) mcpServers() (map[string]map[string]mcp.ServerConfig, error) {
	all := map[string]map[string]mcp.ServerConfig{}
	for _, text := range f.mcpConfig {
		tenant, file, named := strings.Cut(text, "=")
		if !named {
			tenant, file = wasmhost.DefaultTenant, text
		}
		if tenant == "" || file == "" {
			return nil, usagef("--mcp-config %q: want FILE or TENANT=FILE", text)
		}
		if all[tenant] != nil {
			return nil, usagef("--mcp-config %q: the tenant %q has a file already", text, tenant)
		}
		raw, err := readFile(file, maxMCPConfig)
		if err != nil {
			return nil, usagef("--mcp-config: %w", err)
		}
		if all[tenant], err = mcp.ParseServers(raw, os.LookupEnv); err != nil {
			return nil, usagef("--mcp-config %s: %s", file, status.Convert(err).Message)
		}
	}
	return all, nil
}

func (f *serveFlags) checkMCP() error {
	_, err := f.mcpServers()
	return err
}

// openMCP makes the hosts of the tenants' MCP servers. They are started when they are first needed.
func (b *backend) openMCP(servers map[string]map[string]mcp.ServerConfig, log *slog.Logger) error {
	b.mcp = map[string]*mcp.Host{}
	for tenant, these := range servers {
		h, err := mcp.NewHost(mcp.HostConfig{Servers: these, Version: buildVersion(), Logger: log.With(slog.String("tenant", tenant))})
		if err != nil {
			return err
		}
		b.mcp[tenant] = h
		b.closers = append(b.closers, h.Close)
	}
	return nil
}

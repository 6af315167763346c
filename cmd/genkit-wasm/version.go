package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// version is set by the build of a release (-ldflags "-X main.version=…").
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{
					"version": buildVersion(), "abi": abi.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			return a.line("genkit-wasm %s (%s, %s, %s/%s)", buildVersion(), abi.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

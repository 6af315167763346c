package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// finding is one line of doctor.
type finding struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Found string `json:"found"` // in words
	Fix   string `json:"fix,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var engines engineFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what is here: toolchains, the engine of scripts, isolation, the server",
		Long: "Doctor looks for what other commands use: the toolchains of \"build\", the engine that runs scripts, what this system offers to keep guests apart, and whether the server answers. " +
			"Each thing that is missing comes with the way to get it. Nothing is needed for everything, so it exits with 0 whatever is missing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := toolchainFindings(cmd.Context())
			all = append(all, engineFinding(&engines))
			all = append(all, isolationFindings(cmd.Context(), a.compiler)...)
			all = append(all, a.serverFinding(cmd.Context()))
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			return a.printDoctor(all)
		},
	}
	engines.addEngines(cmd.Flags())
	a.serverFlags(cmd)
	return cmd
}

func (a *app) printDoctor(all []finding) error {
	if a.json() {
		return a.printJSON(map[string]any{"findings": all})
	}
	for _, f := range all {
		verdict := "ok    "
		if !f.OK {
			verdict = colour(a.out, yellow, "lacks") + " "
		}
		if err := a.line("%s%-19s %s", verdict, f.Name, f.Found); err != nil {
			return err
		}
		if f.Fix != "" {
			if err := a.line("%26s%s", "", f.Fix); err != nil {
				return err
			}
		}
	}
	return nil
}

func toolchainFindings(ctx context.Context) (all []finding) {
	for _, t := range guestbuild.Toolchains(ctx) {
		f := finding{Name: "build of " + string(t.Language), OK: t.Missing == "", Found: t.Missing, Fix: t.Fix}
		if f.OK {
			f.Found = abi.Line(t.Version, 100) + " (" + strings.Join(t.Paths, ", ") + ")"
		}
		all = append(all, f)
	}
	return all
}

func engineFinding(flags *engineFlags) finding {
	f := finding{Name: "engine of scripts", Fix: "build it with \"make build\", or --engine javascript=FILE with " + script.EngineFile + " of " + script.EngineModule + " " + script.EngineVersion}
	engine, err := flags.javascript()
	switch {
	case err != nil:
		f.Found = err.Error()
	case engine == nil:
		f.Found = "this program was built without one: run, test and serve take scripts only with --engine"
	default:
		f.OK, f.Fix, f.Found = true, "", fmt.Sprintf("TypeScript and JavaScript, %s", size(len(engine)))
	}
	return f
}

// isolationFindings are what keeps guests apart: processes of their own, and what the kernel takes from those.
func isolationFindings(ctx context.Context, compiler []string) []finding {
	f := finding{Name: "worker processes", OK: true, Found: "serve --isolation process keeps tenants apart; the default with --auth, and with several tenants"}
	if err := tryProcess(ctx, compiler); err != nil {
		f.OK, f.Found = false, "they don't work here: "+err.Error()
		f.Fix = "they need Linux 5.13 or later on amd64 or arm64; elsewhere run a server for each group of tenants that trust each other"
	}
	return append([]finding{f}, kernelFindings()...)
}

func tryProcess(ctx context.Context, compiler []string) error {
	if len(compiler) == 0 {
		return errors.New("this program can't start itself again")
	}
	return wasmhost.TryProcess(ctx, compiler)
}

// serverPatience bounds the question to the server.
const serverPatience = 5 * time.Second

func (a *app) serverFinding(ctx context.Context) finding {
	name := a.server
	if u, err := url.Parse(name); err == nil {
		name = u.Redacted()
	}
	f := finding{Name: "server", Found: name + " does not answer", Fix: "genkit-wasm serve, or name another one with --server or " + serverEnv}
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	resp, err := a.send(ctx, request{method: http.MethodGet, path: "/modules"})
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		_ = resp.Body.Close()
	}
	if err == nil {
		return finding{Name: "server", OK: true, Found: name + " answers for the tenant " + a.tenant}
	}
	if fail, ok := errors.AsType[*failure](err); ok && fail.exit != exitUnreachable {
		f.Found, f.Fix = name+": "+abi.Line(fail.text, 200), cmp.Or(fail.hint, f.Fix)
	}
	return f
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/internal/recording"
	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// recordRun is run, and keeps the call in a file.
func (a *app) recordRun(ctx context.Context, f *toolFlags, stream bool, file string) error {
	rec := &recording.Recording{Version: recording.Version, Start: recording.NewStart()}
	f.start = rec.Start.Sources
	ctx, call, err := a.openCall(ctx, f)
	if err != nil {
		return err
	}
	defer call.host.close()
	p, err := policy.Parse(call.host.upload.Policy)
	if err != nil {
		return refusedModule(err)
	}
	if len(p.Grants.Files) > 0 {
		return usagef("--record: the policy grants directories, and what a module reads there can't be recorded")
	}
	rec.Module = recording.Module{Name: call.host.record.Name, File: f.module, Digest: call.host.record.Digest, Descriptor: call.host.upload.Descriptor, Policy: call.host.upload.Policy}
	rec.Action, rec.Input = call.tool.Desc().Key().String(), recording.Bytes(call.input)
	if caller := action.Context(ctx); len(caller) > 0 {
		rec.Context = recording.Bytes(caller)
	}
	tape := recording.NewTape(rec)
	ran := a.runTool(intercept.With(ctx, tape.Begin), call, stream)
	if ctx.Err() != nil {
		return ran
	}
	kept := a.keep(tape, call.result, file)
	if ran != nil && kept != nil {
		a.note("note: %v", kept) // beside why the call failed
	}
	return cmp.Or(ran, kept)
}

func (a *app) keep(tape *recording.Tape, result json.RawMessage, file string) error {
	raw, err := tape.Encode(result)
	if err != nil {
		return &failure{exit: exitFailed, text: "nothing was recorded: " + err.Error(), cause: err}
	}
	return writeWholeAs(file, raw, 0o600)
}

// replayFlags are the flags of replay.
type replayFlags struct {
	engineFlags
	verbose  bool
	toCases  string
	caseName string
}

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay RECORDING [FILE|DIR]",
		Short: "Run a recorded call again and tell the first difference",
		Long: "Replay runs a call that \"run --record\" has kept, in this process. The module gets what it got then, from the recording and from nowhere else: answers, random bytes, times. " +
			"What it asks, emits, logs and returns, and the fuel it takes, has to be the same, byte for byte; the first difference is printed, and the command exits with 1.\n\n" +
			"The module is the file that was recorded, or FILE, such as a later build of it.\n\n" +
			"With --case nothing runs: the call is added to a file of cases for \"test\", with what its host answered.",
		Example: "  genkit-wasm run weather.wasm forecast --input '{\"city\":\"Oslo\"}' --allow-host api.example.com --record call.json\n  genkit-wasm replay call.json\n  genkit-wasm replay call.json --case cases.yaml",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readFile(args[0], recording.MaxFile)
			if err != nil {
				return err
			}
			rec, err := recording.Parse(raw)
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			if len(args) == 2 {
				rec.Module.File = args[1]
			}
			if f.toCases != "" {
				return a.addCase(rec, &f)
			}
			return a.replay(cmd.Context(), rec, &f)
		},
	}
	f.addEngines(cmd.Flags())
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show the module's log lines")
	cmd.Flags().StringVar(&f.toCases, "case", "", "add the call to a `FILE` of cases, which may be new")
	cmd.Flags().StringVar(&f.caseName, "name", "", "the name of the case (default: \"recorded\" and the tool)")
	return cmd
}

// replayed is the output of replay for programs.
type replayed struct {
	Action     string                `json:"action"`
	Events     int                   `json:"events"`
	Same       bool                  `json:"same"`
	Difference *recording.Difference `json:"difference,omitempty"`
}

var errAnotherWay = errors.New("the call has gone another way")

func (a *app) replay(ctx context.Context, rec *recording.Recording, f *replayFlags) error {
	player, err := a.play(ctx, rec, f)
	if err != nil {
		return err
	}
	diff, err := player.Difference()
	if err != nil {
		return &failure{exit: exitFailed, text: err.Error(), cause: err}
	}
	r := replayed{rec.Action, len(rec.Events), diff == nil, diff}
	switch {
	case a.json():
		err = a.printJSON(r)
	case r.Same:
		err = a.line("the same, byte for byte: %s, %d events, %d units of fuel", r.Action, r.Events, rec.Ended.Fuel)
	case diff.Event == 0:
		err = a.line("%s ends in another way\n  recorded  %s\n  replayed  %s", r.Action, brief(diff.Recorded), brief(diff.Replayed))
	default:
		err = a.line("the first difference is event %d of %d\n  recorded  %s\n  replayed  %s", diff.Event, r.Events, brief(diff.Recorded), brief(diff.Replayed))
	}
	if err == nil && !r.Same {
		err = &failure{exit: exitFailed, text: errAnotherWay.Error(), cause: errAnotherWay}
	}
	return err
}

// play makes the call.
func (a *app) play(ctx context.Context, rec *recording.Recording, f *replayFlags) (*recording.Player, error) {
	files := files{module: rec.Module.File}
	up, err := files.readFiles()
	if err != nil {
		return nil, err
	}
	up.Name, up.Descriptor, up.Policy = rec.Module.Name, rec.Module.Descriptor, rec.Module.Policy
	host, err := a.openHost(ctx, up, &hostFlags{engineFlags: f.engineFlags, verbose: f.verbose, start: rec.Start.Sources})
	if err != nil {
		return nil, err
	}
	defer host.close()
	if host.record.Digest != rec.Module.Digest {
		a.note("note: %s is another module than the recorded one", rec.Module.File)
	}
	tool, err := host.tool(ctx, rec.Action)
	if err != nil {
		return nil, err
	}
	if len(rec.Context) > 0 {
		ctx = action.WithContext(ctx, []byte(rec.Context))
	}
	late, end := context.WithCancelCause(ctx)
	defer end(nil)
	player := recording.NewPlayer(rec, func() { end(errAnotherWay) })
	_, _ = tool.RunJSON(intercept.With(late, player.Begin), []byte(rec.Input), func(json.RawMessage) error { return nil }) // the player has seen how it ended
	return player, ctx.Err()
}

// addCase writes a recorded call into a file of cases.
func (a *app) addCase(rec *recording.Recording, f *replayFlags) error {
	old, err := readFile(f.toCases, maxCasesBytes)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c, err := rec.Case(f.caseName)
	if err != nil {
		return usage(err)
	}
	text, err := tooltest.Append(old, c)
	if err != nil {
		return usagef("%s: %w", f.toCases, err)
	}
	if err := writeWhole(f.toCases, text); err != nil {
		return err
	}
	return a.line("added %q to %s", c.Name, f.toCases)
}

package agent

import (
	"cmp"
	"context"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// delegatePrefix begins the name of an agent's tool, as in Genkit's middleware for sub-agents.
const delegatePrefix = "delegate_to_"

// task is the input of an agent's tool.
type task struct {
	Task string `json:"task" jsonschema:"description=What the agent is to do. It knows nothing of this conversation."`
}

// report is the output of an agent's tool.
type report struct {
	Response  string     `json:"response"`
	Artifacts []document `json:"artifacts,omitempty"`
}

// document is an artifact as a model reads it.
type document struct {
	Name    string `json:"name"`
	Content string `json:"content,omitempty"`
}

// Tool returns a tool by which a model hands a task to the agent: delegate_to_<name>, with
// the last segment of the agent's name; {"task"} in, {"response", "artifacts"?: [{"name", "content"?}]} out. Each
// call is a conversation of its own, of one turn. One that fails or is interrupted is told to the
// model as its response. Where another agent runs the tool, artifacts with a name are added to
// that one's session, as <agent>_<n>/<name>. It fails when ctx ends, and INVALID_ARGUMENT when
// the name can't be a tool's.
func (a *Agent) Tool() (tool.Tool, error) {
	description := cmp.Or(a.config.Description, "Hands a task to the agent "+a.name+".")
	return tool.New(delegatePrefix+action.ShortName(a.name), description, a.delegate)
}

func (a *Agent) delegate(ctx context.Context, in task) (*report, error) {
	out, err := a.Run(ctx, Init{}, Input{Message: new(content.NewUserTextMessage(in.Task))})
	if ctx.Err() != nil {
		return nil, status.Convert(ctx.Err())
	}
	switch {
	case err != nil:
		return a.failure(status.ToWire(err, false)), nil
	case out.Error != nil:
		return a.failure(*out.Error), nil
	case out.FinishReason == FinishInterrupted:
		return &report{Response: "The agent " + a.name + " has asked for something that nobody can answer here. Give it a task with all that it needs."}, nil
	}
	r := &report{Response: cmp.Or(out.Message.Text(), "(no response)")}
	for i := range out.Artifacts {
		if o := &out.Artifacts[i]; o.Name != "" {
			r.Artifacts = append(r.Artifacts, document{Name: o.Name, Content: content.TextOf(o.Parts)})
		}
	}
	if outer, ok := SessionFrom(ctx); ok {
		err = a.handOver(outer, out.Artifacts)
	}
	return r, err
}

func (a *Agent) failure(e status.Wire) *report {
	return &report{Response: "The agent " + a.name + " failed: " + e.Status + ": " + e.Message}
}

// handOver adds the artifacts of a delegated task to the session that it was given in.
func (a *Agent) handOver(s *Session, artifacts []Artifact) error {
	id := ""
	for _, o := range artifacts {
		if o.Name == "" {
			continue
		}
		if id == "" {
			id = s.delegation(action.ShortName(a.name))
		}
		for key, value := range map[string]string{"source": a.name, "invocationId": id} {
			raw, err := rawjson.Encode(value)
			if err != nil {
				return status.Errorf(status.Internal, "encode an artifact's metadata: %w", err)
			}
			o.Metadata = o.Metadata.With(key, raw)
		}
		o.Name = id + "/" + o.Name
		if err := s.AddArtifacts(o); err != nil {
			return err
		}
	}
	return nil
}

// delegation returns a name for an invocation, one that no artifact of the session has before its slash.
func (s *Session) delegation(agent string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.delegations++
		id := agent + "_" + strconv.Itoa(s.delegations)
		if !s.holds(id + "/") {
			return id
		}
	}
}

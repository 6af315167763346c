package agent

import (
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// FinishReason says why a turn or an invocation ended: a model's reason, or one of the
// constants here.
type FinishReason string

// The reasons that are not a model's. Interrupted is both.
const (
	FinishAborted     FinishReason = "aborted"
	FinishDetached    FinishReason = "detached"
	FinishFailed      FinishReason = "failed"
	FinishInterrupted FinishReason = FinishReason(model.FinishInterrupted)
)

// Status is the state of a [Snapshot].
type Status string

// Genkit's states. Aborting is one that other runtimes write: stopped, and not settled yet.
// Expired is never stored: it is a pending or aborting snapshot whose worker has not been
// heard of for a minute.
const (
	Pending   Status = "pending"
	Completed Status = "completed"
	Failed    Status = "failed"
	Aborting  Status = "aborting"
	Aborted   Status = "aborted"
	Expired   Status = "expired"
)

// Settled reports whether a snapshot of this state changes no more.
func (s Status) Settled() bool { return s == Completed || s == Failed || s == Aborted }

// State is a conversation: Genkit's SessionState.
type State struct {
	SessionID string            `json:"sessionId,omitempty"`
	Messages  []content.Message `json:"messages,omitempty"`
	// Custom is a JSON value of the agent's own, or nil.
	Custom    json.RawMessage `json:"custom,omitempty"`
	Artifacts []Artifact      `json:"artifacts,omitempty"`
}

// Artifact is a result that an agent hands out beside its messages, such as a document. A
// session keeps one of each name; those without a name are all kept.
type Artifact struct {
	Name     string           `json:"name,omitempty"`
	Parts    []content.Part   `json:"parts"`
	Metadata content.Metadata `json:"metadata,omitzero"`
}

// Init says which conversation an invocation goes on with: Genkit's AgentInit. Its zero
// value begins a new one.
type Init struct {
	// SessionID is that of a session whose newest snapshot is resumed, or of a new session.
	// Beside a SnapshotID it has to be that snapshot's.
	SessionID  string `json:"sessionId,omitempty"`
	SnapshotID string `json:"snapshotId,omitempty"`
	// State is the conversation itself, for an agent without a store.
	State *State `json:"state,omitempty"`
}

// Input is one turn: Genkit's AgentInput. One with neither a message nor an answer goes on
// from where the conversation stands, such as after a failure.
type Input struct {
	// Message is the user's; its role may be left out.
	Message *content.Message `json:"message,omitempty"`
	Resume  *Resume          `json:"resume,omitempty"`
	// Detach has the work go on in the background: the invocation ends at once with the id of
	// a pending snapshot. Alone, it is no turn.
	Detach bool `json:"detach,omitempty"`
}

// Resume answers the interrupts of the last turn.
type Resume struct {
	// Respond holds tool responses that stand for the tools' own.
	Respond []content.Part `json:"respond,omitempty"`
	// Restart holds tool requests to be run again, with the input that they had.
	Restart []content.Part `json:"restart,omitempty"`
}

func (r *Resume) empty() bool { return r == nil || len(r.Respond)+len(r.Restart) == 0 }

// Result is what the function of an agent returns: Genkit's AgentResult.
type Result struct {
	Message      *content.Message `json:"message,omitempty"`
	Artifacts    []Artifact       `json:"artifacts,omitempty"`
	FinishReason FinishReason     `json:"finishReason,omitempty"`
}

// Output is how an invocation ended: Genkit's AgentOutput. State is there for an agent
// without a store, SnapshotID for one that has one; either is where the conversation goes on.
type Output struct {
	SessionID    string           `json:"sessionId,omitempty"`
	SnapshotID   string           `json:"snapshotId,omitempty"`
	State        *State           `json:"state,omitempty"`
	Message      *content.Message `json:"message,omitempty"`
	Artifacts    []Artifact       `json:"artifacts,omitempty"`
	FinishReason FinishReason     `json:"finishReason,omitempty"`
	// Error says what failed, as far as it may leave the process.
	Error *status.Wire `json:"error,omitempty"`
}

// Chunk is a piece of an invocation's stream, with one field set: Genkit's AgentStreamChunk.
type Chunk struct {
	ModelChunk *model.Chunk `json:"modelChunk,omitempty"`
	// CustomPatch is a change of the custom state (RFC 6902). The first of a turn replaces
	// the whole.
	CustomPatch []PatchOp `json:"customPatch,omitempty"`
	Artifact    *Artifact `json:"artifact,omitempty"`
	// TurnEnd comes once for each turn, after everything else of it.
	TurnEnd *TurnEnd `json:"turnEnd,omitempty"`
}

// TurnEnd says how a turn ended, and under which id it was stored.
type TurnEnd struct {
	SnapshotID   string       `json:"snapshotId,omitempty"`
	FinishReason FinishReason `json:"finishReason,omitempty"`
}

// PatchOp is one operation of a JSON Patch: add, replace or remove. Value is that of the
// first two.
type PatchOp struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Snapshot is a stored turn: Genkit's SessionSnapshot.
type Snapshot struct {
	SnapshotID string `json:"snapshotId"`
	SessionID  string `json:"sessionId,omitempty"`
	// ParentID is the snapshot that this one goes on from; several may have the same.
	ParentID  string    `json:"parentId,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	// HeartbeatAt is when the worker of a pending snapshot was heard of.
	HeartbeatAt  time.Time    `json:"heartbeatAt,omitzero"`
	Status       Status       `json:"status,omitempty"`
	FinishReason FinishReason `json:"finishReason,omitempty"`
	Error        *status.Wire `json:"error,omitempty"`
	State        *State       `json:"state,omitempty"`
}

// Query names a snapshot: Genkit's GetSnapshotRequest. A SessionID alone is that session's
// newest one.
type Query struct {
	SnapshotID string `json:"snapshotId,omitempty"`
	SessionID  string `json:"sessionId,omitempty"`
	// MetadataOnly leaves out the state.
	MetadataOnly bool `json:"metadataOnly,omitempty"`
}

// abortRequest and abortResponse are those of /agent-abort.
type abortRequest struct {
	SnapshotID string `json:"snapshotId"`
}

type abortResponse struct {
	SnapshotID string `json:"snapshotId"`
	Status     Status `json:"status,omitempty"`
}

// Schemas of the wire types (genkit-tools/genkit-schema.json), as far as a caller of an
// agent has to keep to them.
const (
	messageSchema = `{"type":"object","properties":{"role":{"type":"string","enum":["system","user","model","tool"]},` +
		`"content":{"type":"array","items":{"type":"object"}},"metadata":{"type":"object"}},"required":["content"]}`
	artifactSchema = `{"type":"object","properties":{"name":{"type":"string"},"parts":{"type":"array","items":{"type":"object"}},` +
		`"metadata":{"type":"object"}},"required":["parts"],"additionalProperties":false}`
	stateSchema = `{"type":"object","properties":{"sessionId":{"type":"string","minLength":1},"messages":{"type":"array","items":` + messageSchema + `},` +
		`"custom":{},"artifacts":{"type":"array","items":` + artifactSchema + `}},"additionalProperties":false}`
	initSchema = `{"type":"object","properties":{"sessionId":{"type":"string","minLength":1},"snapshotId":{"type":"string","minLength":1},"state":` + stateSchema +
		`},"additionalProperties":false}`
	resumeSchema = `{"type":"object","properties":{"respond":{"type":"array","items":{"type":"object","properties":{"toolResponse":{"type":"object"}},"required":["toolResponse"]}},` +
		`"restart":{"type":"array","items":{"type":"object","properties":{"toolRequest":{"type":"object"}},"required":["toolRequest"]}}},"additionalProperties":false}`
	inputSchema  = `{"type":"object","properties":{"message":` + messageSchema + `,"resume":` + resumeSchema + `,"detach":{"type":"boolean"}},"additionalProperties":false}`
	errorSchema  = `{"type":"object","properties":{"status":{"type":"string"},"message":{"type":"string"},"details":{}},"required":["message"]}`
	outputSchema = `{"type":"object","properties":{"sessionId":{"type":"string"},"snapshotId":{"type":"string"},"state":` + stateSchema + `,"message":` + messageSchema +
		`,"artifacts":{"type":"array","items":` + artifactSchema + `},"finishReason":{"type":"string"},"error":` + errorSchema + `},"additionalProperties":false}`
	chunkSchema = `{"type":"object","properties":{"modelChunk":{"type":"object"},"customPatch":{"type":"array","items":{"type":"object","required":["op","path"]}},` +
		`"artifact":` + artifactSchema + `,"turnEnd":{"type":"object"}},"additionalProperties":false}`
	querySchema    = `{"type":"object","properties":{"snapshotId":{"type":"string"},"sessionId":{"type":"string"},"metadataOnly":{"type":"boolean"}},"additionalProperties":false}`
	snapshotSchema = `{"type":"object","properties":{"snapshotId":{"type":"string"},"sessionId":{"type":"string"},"parentId":{"type":"string"},"createdAt":{"type":"string"},` +
		`"updatedAt":{"type":"string"},"heartbeatAt":{"type":"string"},"status":{"type":"string"},"finishReason":{"type":"string"},"error":` + errorSchema +
		`,"state":` + stateSchema + `},"required":["snapshotId","createdAt"]}`
	abortSchema   = `{"type":"object","properties":{"snapshotId":{"type":"string","minLength":1}},"required":["snapshotId"],"additionalProperties":false}`
	abortedSchema = `{"type":"object","properties":{"snapshotId":{"type":"string"},"status":{"type":"string"}},"required":["snapshotId"]}`
)

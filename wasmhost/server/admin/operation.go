package admin

import (
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Operation is work that goes on after the request that began it, also after a restart.
type Operation struct {
	ID string `json:"id"`
	// Kind is "deleteTenant". It is empty, like Tenant, where State is "damaged".
	Kind   string `json:"kind"`
	Tenant string `json:"tenant"`
	// State is "running", "succeeded" or "damaged".
	State OperationState `json:"state"`
	// Progress counts the tenant's modules, once they are known.
	Progress *Progress `json:"progress,omitempty"`
	// Error says why the last attempt failed, which is made again, or what is wrong with the record.
	Error     *status.Wire `json:"error,omitempty"`
	CreatedAt time.Time    `json:"createdAt"`
	UpdatedAt time.Time    `json:"updatedAt"`
}

// Progress is how many of the parts of an operation are done.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// OperationState says whether an operation goes on.
type OperationState string

// The states of an operation.
const (
	Running   OperationState = "running"
	Succeeded OperationState = "succeeded"
	// Unreadable is an operation of which the record is damaged.
	Unreadable OperationState = "damaged"
)

const (
	operationKind = "operation"
	deleteTenant  = "deleteTenant"
	// keepOperations is how long an operation can be read after its end, and maxOperations
	// how many that have ended are kept.
	keepOperations = 7 * 24 * time.Hour
	maxOperations  = 1000
)

// operation is an operation, and what the store says of it.
type operation struct {
	Operation
	revision string
}

func (o *operation) show() Operation {
	shown := o.Operation
	if o.Progress != nil {
		p := *o.Progress
		shown.Progress = &p
	}
	if o.Error != nil {
		e := *o.Error
		e.Details = slices.Clone(e.Details)
		shown.Error = &e
	}
	return shown
}

package admin

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Settings are the part of a tenant that can be changed. The zero value says nothing: the
// tenant has the server's limits, grants and quota.
type Settings struct {
	// DisplayName is for people: one line of at most 200 characters.
	DisplayName string `json:"displayName,omitempty"`
	// Labels are the operator's own: at most 32, values of at most 128 characters.
	Labels map[string]string `json:"labels,omitempty"`
	// Limits tighten the server's; they never widen them.
	Limits policy.Limits `json:"limits,omitzero"`
	// Grants are the most that policies of its modules may grant, within the server's; nil
	// leaves these.
	Grants *policy.Grants `json:"grants,omitempty"`
	// Quota bounds the tenant; fields that are absent are the server's.
	Quota tenant.Quota `json:"quota,omitzero"`
	// Budget bounds its model calls.
	Budget Budget `json:"budget,omitzero"`
	// Group names the tenants that trust each other and may share a worker process.
	Group string `json:"group,omitempty"`
}

// State says whether a tenant runs.
type State string

// The states of a tenant.
const (
	// Active runs.
	Active State = "active"
	// Suspended keeps its modules, and nothing of it runs.
	Suspended State = "suspended"
	// Deleting is going away with everything that belongs to it.
	Deleting State = "deleting"
	// Damaged can't be read from the store, and does not run.
	Damaged State = "damaged"
)

// Tenant is a customer of the server as a resource. The HTTP API answers with it.
type Tenant struct {
	Name string `json:"name"`
	// ID tells the tenant from an earlier one of its name.
	ID string `json:"id,omitempty"`
	Settings
	State State `json:"state"`
	// Revision changes with each change; it is the entity tag of the HTTP API.
	Revision  string    `json:"revision,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	// Operation is the operation that deletes the tenant.
	Operation string `json:"operation,omitempty"`
	// Problem says why the tenant is not served as it is set. It is not stored.
	Problem string `json:"problem,omitempty"`
}

// MaxSettingsBytes bounds the text of settings.
const MaxSettingsBytes = policy.MaxBytes

const (
	maxDisplayName = 200
	maxLabels      = 32
	maxLabelValue  = 128
)

var (
	labelName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_./-]{0,62})$`)
	groupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
)

// ParseSettings decodes and checks settings. A member that is not known, written in another
// case or given twice is refused, because a mistyped limit would be no limit; so is the token of an API key in any value. It fails with
// INVALID_ARGUMENT.
func ParseSettings(raw []byte) (Settings, error) {
	var s Settings
	if len(raw) > MaxSettingsBytes {
		return s, status.Publicf(status.InvalidArgument, "settings of %d bytes exceed the limit of %d", len(raw), MaxSettingsBytes)
	}
	if err := schema.Decode(raw, &s, schema.RefuseUnknown); err != nil {
		return Settings{}, status.Publicf(status.InvalidArgument, "tenant: %w", err)
	}
	return s, s.accept()
}

// isLine reports whether text is one line of at most so many characters, as JSON Schema's
// maxLength counts them.
func isLine(text string, most int) bool {
	return utf8.RuneCountInString(text) <= most && abi.Line(text, utf8.UTFMax*most) == text
}

// accept checks settings that somebody gives, and refuses those that contain the token of an API key: it would be stored in
// plain text and shown to all who may read the tenant. What is stored is read without this, so that no tenant is lost for it.
func (s *Settings) accept() error {
	raw, err := rawjson.Encode(s)
	if err != nil {
		return status.Errorf(status.Internal, "encode the settings of a tenant: %w", err)
	}
	if access.HasToken(string(raw)) {
		return status.Publicf(status.InvalidArgument, "tenant: the settings contain the token of an API key, which would be stored and shown with them")
	}
	return s.check()
}

// check refuses values that are out of their range, and brings grants into one form.
func (s *Settings) check() error {
	if !isLine(s.DisplayName, maxDisplayName) {
		return status.Publicf(status.InvalidArgument, "tenant: \"displayName\": want one line of at most %d characters", maxDisplayName)
	}
	if len(s.Labels) > maxLabels {
		return status.Publicf(status.InvalidArgument, "tenant: \"labels\": %d of them, want at most %d", len(s.Labels), maxLabels)
	}
	for name, value := range s.Labels {
		if !labelName.MatchString(name) || !isLine(value, maxLabelValue) {
			return status.Publicf(status.InvalidArgument, "tenant: label %q: want a name of 1 to 63 letters, digits, \"_\", \".\", \"/\" or \"-\", starting with a letter or digit, and a value of one line of at most %d characters", abi.Line(name, 80), maxLabelValue)
		}
	}
	if s.Group != "" && !groupName.MatchString(s.Group) {
		return status.Publicf(status.InvalidArgument, "tenant: \"group\": want 1 to 64 letters, digits, \"_\", \".\" or \"-\", starting with a letter or digit")
	}
	if err := s.Quota.Check(); err != nil {
		return err
	}
	if err := s.Budget.check(); err != nil {
		return err
	}
	p := policy.Policy{Limits: s.Limits}
	if s.Grants != nil {
		p.Grants = *s.Grants
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return status.Errorf(status.Internal, "encode the limits of a tenant: %w", err)
	}
	if p, err = policy.Parse(raw); err != nil {
		return err
	}
	if s.Limits = p.Limits; s.Grants != nil {
		s.Grants = &p.Grants
	}
	return nil
}

// Merge applies a merge patch (RFC 7396) to the settings: members of the patch replace those
// that are there, null removes one, objects are merged. It fails with INVALID_ARGUMENT.
func (s Settings) Merge(patch []byte) (Settings, error) {
	if len(patch) > MaxSettingsBytes {
		return s, status.Publicf(status.InvalidArgument, "settings of %d bytes exceed the limit of %d", len(patch), MaxSettingsBytes)
	}
	if err := schema.CheckUnique(patch); err != nil {
		return s, status.Publicf(status.InvalidArgument, "tenant: %w", err)
	}
	if !isObject(patch) {
		return s, status.Publicf(status.InvalidArgument, "tenant: want a JSON object")
	}
	now, err := rawjson.Encode(s)
	if err != nil {
		return s, status.Errorf(status.Internal, "encode the settings of a tenant: %w", err)
	}
	merged, err := merge(now, patch)
	if err != nil {
		return s, status.Publicf(status.InvalidArgument, "tenant: %w", err)
	}
	return ParseSettings(merged)
}

// merge is RFC 7396's MergePatch. The depth of a patch was bounded when it was checked.
func merge(target, patch json.RawMessage) (json.RawMessage, error) {
	if !isObject(patch) {
		return patch, nil
	}
	into, changes := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if isObject(target) {
		if err := json.Unmarshal(target, &into); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, err
	}
	for name, change := range changes {
		if string(change) == "null" {
			delete(into, name)
			continue
		}
		merged, err := merge(into[name], change)
		if err != nil {
			return nil, err
		}
		into[name] = merged
	}
	return rawjson.Encode(into)
}

func isObject(raw json.RawMessage) bool {
	for _, c := range raw {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '{'
	}
	return false
}

// clone copies what settings refer to.
func (s Settings) clone() Settings {
	raw, err := rawjson.Encode(s)
	if err != nil {
		return s
	}
	var c Settings
	if json.Unmarshal(raw, &c) != nil {
		return s
	}
	return c
}

// same reports whether two settings say the same.
func (s Settings) same(other Settings) bool { return reflect.DeepEqual(s.clone(), other.clone()) }

// config returns the tenant as a host is to run it.
func (t *Tenant) config() wasmhost.TenantConfig {
	c := wasmhost.TenantConfig{
		Limits: t.Limits, Grants: t.Grants, Quota: t.Quota, Group: t.Group, ID: t.ID, Suspended: t.State != Active,
	}
	if t.State == Damaged {
		c.Refusal = t.damage()
	}
	return c
}

// record is a tenant as it is stored.
type record struct {
	Tenant
	// Request is a hash of the request that created the tenant, where it had a key.
	Request string `json:"request,omitempty"`
}

func (r *record) encode() (json.RawMessage, error) {
	c := *r
	c.Revision, c.Problem = "", ""
	raw, err := rawjson.Encode(c)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode tenant %q: %w", r.Name, err)
	}
	return raw, nil
}

// decodeRecord reads a stored tenant, strictly: what a later version has stored, and this one
// does not know, may be a limit.
func decodeRecord(d Document) (*record, error) {
	var r record
	err := schema.Decode(d.Value, &r, schema.RefuseUnknown)
	if err == nil {
		err = r.check()
	}
	if err == nil && (r.Name != d.Name || r.State != Active && r.State != Suspended && r.State != Deleting) {
		err = status.Errorf(status.DataLoss, "it is stored as %q, in the state %q", r.Name, r.State)
	}
	if err != nil {
		return nil, status.Publicf(status.DataLoss, "what is stored of tenant %q can't be read by this version: %s", d.Name, status.Convert(err).Message).WithCause(err)
	}
	r.Revision = d.Revision
	return &r, nil
}

func (r *record) show() Tenant {
	shown := r.Tenant
	shown.Settings = r.clone()
	return shown
}

// damagedRecord stands for a tenant that can't be read.
func damagedRecord(d Document, why string) *record {
	advice := fmt.Sprintf("put it back from a backup and start the server again, write it anew (\"genkit-wasm tenant repair %s\" with its settings)", d.Name)
	if d.Name == wasmhost.DefaultTenant {
		advice += "; its modules and values are kept"
	} else {
		advice += ", or delete the tenant"
	}
	return &record{Tenant: Tenant{Name: d.Name, State: Damaged, Revision: d.Revision, Problem: why + ": " + advice}}
}

// damage is what requests of a damaged tenant, and changes of it, fail with.
func (t *Tenant) damage() error { return status.Publicf(status.DataLoss, "%s", t.Problem) }

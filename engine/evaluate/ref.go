package evaluate

// Ref is an evaluator by name, with options of its own for every call.
type Ref struct {
	name   string
	config any
}

// NewRef returns a reference. config is encoded as JSON; nil for none.
func NewRef(name string, config any) Ref { return Ref{name, config} }

// Name returns the evaluator's name.
func (r Ref) Name() string { return r.name }

// Config returns the options of the reference, in whose place [WithConfig] stands where
// it is given.
func (r Ref) Config() any { return r.config }

package wasi

// Signature is a function's name and parameters, "i" for i32 and "I" for i64.
type Signature struct{ Name, Params, Results string }

// Signatures lists every function of the host module.
func Signatures() []Signature {
	list := []Signature{{"proc_exit", "i", ""}}
	for _, f := range functions() {
		list = append(list, Signature{f.name, f.params, "i"})
	}
	return list
}

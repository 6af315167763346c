package format

// Answer returns a text that has ended without its reasoning.
func Answer(text string) string {
	said, _ := answer(text)
	return said
}

// Reading returns a function that reads a text that grows and returns the answer so far.
func Reading() func(text string) string { return (&thoughts{}).read }

package bedrock

// What tests look into.
var (
	Sign      = sign
	NewFrames = newFrames
)

package module

// OpenFS opens a store on a file system of a test.
var OpenFS = openFS

// EncodeName and DecodeName are how names are written as files.
var (
	EncodeName = encodeName
	DecodeName = decodeName
)

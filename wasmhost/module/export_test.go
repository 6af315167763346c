package module

// SetStep makes d announce every change to the disk to step, which ends the work
// there by returning an error.
func SetStep(d *Dir, step func() error) { d.files.step = step }

// EncodeName and DecodeName are how names are written as files.
var (
	EncodeName = encodeName
	DecodeName = decodeName
)

package script

// Entry checks the archive of a [Package] as an upload does, without bundling it, and returns the name of the file that the
// script begins in. It fails with INVALID_ARGUMENT, and is for archives of one's own: nothing bounds the time that it takes.
func Entry(archive []byte) (string, error) {
	t, err := readArchive(archive)
	if err != nil {
		return "", err
	}
	file, err := newResolver(t).entry()
	if err != nil {
		return "", invalid(why(err))
	}
	return file, nil
}

package script

// Original is the search in a source map's mappings.
func Original(files []string, mappings string, line, column int) (file, originalLine, originalColumn int, ok bool) {
	m := readMappings(files, mappings)
	at, ok := m.find(line, column)
	return at.file, at.line, at.column, ok
}

// Marks is how many places of a source map's mappings are remembered.
func Marks(mappings string) int { m := readMappings(nil, mappings); return len(m.marks) }

// ReadArchive returns the files of an archive.
func ReadArchive(archive []byte) (map[string][]byte, error) {
	t, err := readArchive(archive)
	if err != nil {
		return nil, err
	}
	return t.files, nil
}

// Bundle makes a script of an archive in this process, where nothing but the plugin keeps esbuild from the disk.
func Bundle(archive []byte) (*Script, error) {
	a, err := bundle(archive)
	if err != nil {
		return nil, err
	}
	return a.script()
}

// Bounds.
const (
	MaxHere         = maxHere
	MaxBundledBytes = maxBundledBytes
	MaxLocated      = maxLocated
)

// Seal takes from this process the right to open files.
func Seal() error { return seal() }

// Resolve finds what a file of an archive imports; "" for what is no file.
func Resolve(files map[string][]byte, name, importer string) (string, error) {
	found, err := newResolver(&tree{files: files}).resolve(name, importer, false)
	return found.file, err
}

package inspect

import "fmt"

// Refusal is why a module was refused. It is the only error that this package returns.
type Refusal struct { //nolint:errname // a refusal is a verdict first
	Code    string // one of the Code constants; stable, for programs
	Offset  int    // byte offset in the module at which the parser stood
	Message string // the fault
	Hint    string // advice to the author; may be empty
}

// Error gives the message, the offset and the code; the hint is left to the caller, who may have a better place for it.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s (offset %d, %s)", r.Message, r.Offset, r.Code)
}

// Codes of a [Refusal]. They are part of the API: they are added to, never renamed.
const (
	// The bytes are not a complete core module.
	CodeEmpty             = "empty-file"
	CodeBadMagic          = "bad-magic"
	CodeComponent         = "component"
	CodeBadVersion        = "bad-version"
	CodeTruncated         = "truncated"
	CodeBadLEB            = "bad-leb128"
	CodeMalformed         = "malformed"
	CodeBadIndex          = "bad-index"
	CodeBadType           = "bad-type"
	CodeSectionBounds     = "section-bounds"
	CodeSectionOrder      = "section-order"
	CodeSectionUnknown    = "section-unknown"
	CodeCountBounds       = "count-bounds"
	CodeFunctionMismatch  = "function-code-mismatch"
	CodeDataCountMismatch = "data-count-mismatch"

	// A name or a custom section is not acceptable.
	CodeBadName         = "bad-name"
	CodeNameTooLong     = "name-too-long"
	CodeDuplicateExport = "duplicate-export"
	CodeDuplicateCustom = "duplicate-custom-section"
	CodeCustomTooLarge  = "custom-too-large"
	CodeTooManyCustom   = "too-many-custom-sections"

	// The module is bigger than its limits.
	CodeModuleTooLarge   = "module-too-large"
	CodeTooManyTypes     = "too-many-types"
	CodeTooManyParams    = "too-many-params"
	CodeTooManyResults   = "too-many-results"
	CodeTooManyImports   = "too-many-imports"
	CodeTooManyFunctions = "too-many-functions"
	CodeTooManyTables    = "too-many-tables"
	CodeTooManyMemories  = "too-many-memories"
	CodeTooManyGlobals   = "too-many-globals"
	CodeTooManyExports   = "too-many-exports"
	CodeTooManyElements  = "too-many-elements"
	CodeTooManyData      = "too-many-data-segments"
	CodeCodeTooLarge     = "code-too-large"
	CodeBodyTooLarge     = "body-too-large"
	CodeTooManyLocals    = "too-many-locals"
	CodeTooDeep          = "nesting-too-deep"
	CodeBrTableTooLarge  = "br-table-too-large"
	CodeCompileExplosion = "compile-explosion"
	CodeMemoryTooLarge   = "memory-too-large"
	CodeTableTooLarge    = "table-too-large"

	// The module uses something that this engine does not run.
	CodeImportKind      = "import-kind"
	CodeStartSection    = "start-section"
	CodeMemory64        = "memory64"
	CodeSharedMemory    = "shared-memory"
	CodeThreads         = "threads"
	CodeExceptions      = "exceptions"
	CodeTailCall        = "tail-call"
	CodeTypedReferences = "typed-references"
	CodeUnknownOpcode   = "unknown-opcode"
)

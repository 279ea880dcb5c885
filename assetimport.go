package hostler

// ImportOptions control how a CSV file of assets is imported.
type ImportOptions struct {
	// DryRun reports what the import would do, and changes nothing.
	DryRun bool
	// OnConflict is applied to a row whose asset exists: update (default), skip or fail.
	OnConflict string
	// Mapping gives the field of a column by the column's header; "-" ignores the column.
	Mapping map[string]string
	// Encoding is that of the file: utf-8, utf-16 or gb18030; "" detects it.
	Encoding string
}

// AssetImport is the outcome of an import, or in a dry run what it would be. An import
// is all or nothing: one failed row prevents every change.
type AssetImport struct {
	DryRun    bool          `json:"dry_run"`
	Applied   bool          `json:"applied" doc:"the changes were made; one failed row prevents all of them"`
	Created   int           `json:"created"`
	Updated   int           `json:"updated"`
	Unchanged int           `json:"unchanged"`
	Skipped   int           `json:"skipped"`
	Failed    int           `json:"failed"`
	Rows      []ImportedRow `json:"rows"`
}

// ImportedRow is the result of one row of the file.
type ImportedRow struct {
	Line    int                  `json:"line" doc:"in the file"`
	Name    string               `json:"name"`
	Result  string               `json:"fate" enum:"create,update,unchanged,skip,fail"`
	Changes map[string][2]string `json:"changes,omitempty" doc:"of an update: the old and the new value by field"`
	Errors  []FieldError         `json:"errors,omitempty"`
}

// Results of a row.
const (
	ImportCreate    = "create"
	ImportUpdate    = "update"
	ImportUnchanged = "unchanged"
	ImportSkip      = "skip" // the asset exists, and OnConflict is skip
	ImportFail      = "fail"
)

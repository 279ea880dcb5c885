package hostler

// ImportOptions say how a file of assets is read.
type ImportOptions struct {
	DryRun bool
	// OnConflict says what becomes of a row whose asset exists: update (default),
	// skip or fail.
	OnConflict string
	// Mapping says which field a column is, by the column's header; - ignores it.
	Mapping map[string]string
	// Encoding is the file's, as text after charset=; without it, the file tells.
	Encoding string
}

// AssetImport is what became, or in a dry run would become, of a file of assets.
type AssetImport struct {
	DryRun    bool          `json:"dry_run"`
	Applied   bool          `json:"applied" doc:"the changes were made; one row that fails keeps all of them from it"`
	Created   int           `json:"created"`
	Updated   int           `json:"updated"`
	Unchanged int           `json:"unchanged"`
	Skipped   int           `json:"skipped"`
	Failed    int           `json:"failed"`
	Rows      []ImportedRow `json:"rows"`
}

// ImportedRow is one row of a file of assets.
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
	ImportSkip      = "skip" // it exists, and on_conflict says skip
	ImportFail      = "fail"
)

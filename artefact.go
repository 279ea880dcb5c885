package hostler

import (
	"context"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of an artefact's description.
const (
	MaxArtefactName = 200
	// MaxJobArtefacts is how many artefacts one job may have.
	MaxJobArtefacts = 100
)

// Artefact is a file that a job produced. Its content never changes.
type Artefact struct {
	ID        ArtefactID `json:"id"`
	Job       JobID      `json:"job"`
	Run       RunID      `json:"run,omitzero"`
	Name      string     `json:"name" doc:"file name; unique within the job"`
	MediaType string     `json:"media_type"`
	Size      int64      `json:"size" doc:"bytes"`
	SHA256    string     `json:"sha256" doc:"of the content, in hexadecimal digits"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by,omitempty" doc:"the user who created the job"`
}

// ArtefactFilter selects artefacts. Zero fields do not limit it.
type ArtefactFilter struct {
	Job JobID
	Run RunID
}

// ArtefactInput describes an artefact that a worker stores.
type ArtefactInput struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"` // "" is application/octet-stream
}

// ArtefactDispatcher is the part of a [Dispatcher] that stores and opens artefacts.
type ArtefactDispatcher interface {
	// StoreArtefact stores what r returns as an artefact of a leased job, in place of the
	// job's earlier one with the same name. It returns once the artefact is durable; after
	// an error nothing of it is stored, and the call may be repeated with the whole content.
	// CodeTooLarge: a limit is exceeded. CodeDiskFull: the store has no space.
	StoreArtefact(ctx context.Context, w WorkerID, l LeaseRef, in ArtefactInput, r io.Reader) (Artefact, error)
	// OpenArtefact opens an artefact for a leased job. CodeNotFound: there is none, or the
	// user who created the job may not read it.
	OpenArtefact(ctx context.Context, w WorkerID, l LeaseRef, id ArtefactID) (Artefact, io.ReadCloser, error)
}

// CheckFileName returns a CodeInvalid error for the field at path unless name can be the name
// of a file on every system: one element of a path, without control characters.
func CheckFileName(path, name string) error {
	forbidden := func(r rune) bool {
		return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`/\:*?"<>|`, r)
	}
	if name == "" || len(name) > MaxArtefactName || strings.Trim(name, ". ") != name || strings.ContainsFunc(name, forbidden) {
		return Invalid(path, "must be a file name of at most %d bytes, without folders, control characters, "+
			"dots or blanks at its ends, or any of / \\ : * ? \" < > |",
			"必须是不超过 %d 字节的文件名，不含目录、控制字符和 / \\ : * ? \" < > |，且首尾不是点或空格", MaxArtefactName)
	}
	return nil
}

package sqldb

import (
	"bytes"
	"io"
	"io/fs"
)

// Rendered returns a file system that passes the text of every file through fill when
// it is read: so migrations get the words of a dialect before goose runs them.
func Rendered(files fs.FS, fill func(string) string) fs.FS { return rendered{files, fill} }

type rendered struct {
	fs.FS
	fill func(string) string
}

// ReadDir implements fs.ReadDirFS, which goose's glob uses.
func (r rendered) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.FS, name) }

// Open implements fs.FS.
func (r rendered) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil || fi.IsDir() {
		return f, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	text := r.fill(string(raw))
	return &renderedFile{File: f, Reader: bytes.NewReader([]byte(text))}, nil
}

type renderedFile struct {
	fs.File
	*bytes.Reader
}

// Read reads the filled-in text.
func (f *renderedFile) Read(p []byte) (int, error) { return f.Reader.Read(p) }

package store

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
)

// Render returns the folder dir of Migrations with every ${NAME} of its SQL
// replaced by vars[NAME]. Opening a file with an unknown name is an error.
func Render(dir string, vars map[string]string) (fs.FS, error) {
	sub, err := fs.Sub(Migrations, "migrations/"+dir)
	if err != nil {
		return nil, fmt.Errorf("migrations of %s: %w", dir, err)
	}
	return renderFS{sub, vars}, nil
}

// RenderDone is DoneColumns and DoneIndexes for a table, with vars filled in.
func RenderDone(table string, vars map[string]string) (columns, indexes string, err error) {
	if columns, err = expand(DoneColumns, vars); err != nil {
		return "", "", err
	}
	indexes, err = expand(DoneIndexes, map[string]string{"T": table})
	return columns, indexes, err
}

var placeholder = regexp.MustCompile(`\$\{[A-Z_]+\}`)

func expand(text string, vars map[string]string) (string, error) {
	var missing []string
	text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
		v, ok := vars[p[2:len(p)-1]]
		if !ok {
			missing = append(missing, p)
		}
		return v
	})
	if missing != nil {
		return "", fmt.Errorf("no value for %s", strings.Join(missing, ", "))
	}
	return text, nil
}

// renderFS fills in the placeholders of files as they are opened.
type renderFS struct {
	fs.FS
	vars map[string]string
}

func (r renderFS) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read migration %s: %w", name, err)
	}
	text, err := expand(string(raw), r.vars)
	if err != nil {
		return nil, fmt.Errorf("migration %s: %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("migration %s: %w", name, err)
	}
	return &rendered{Reader: bytes.NewReader([]byte(text)), info: renderedInfo{info, int64(len(text))}}, nil
}

// rendered is an open file of renderFS.
type rendered struct {
	*bytes.Reader
	info renderedInfo
}

func (f *rendered) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *rendered) Close() error               { return nil }

type renderedInfo struct {
	fs.FileInfo
	size int64
}

func (i renderedInfo) Size() int64 { return i.size }

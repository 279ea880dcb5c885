package ssh

import "io"

// DeleteScript exports deleteScript.
const DeleteScript = deleteScript

// TarToZip exports the conversion of a compressed tar to a zip.
func TarToZip(r io.Reader) io.Reader { return (&zipper{}).convert(r) }

// ListedBytes returns how much of a list without an end a cleanup has in memory.
func ListedBytes(chunks int, chunk []byte) int {
	l := &listing{}
	for range chunks {
		_, _ = l.Write(chunk)
	}
	return len(l.rest)
}

// ListedPaths returns how many bytes of paths a cleanup has in memory of a list, and whether it
// left some out.
func ListedPaths(records int, record []byte) (size int, more bool) {
	l := &listing{}
	_, _ = l.Write([]byte("1700000000\n"))
	for range records {
		_, _ = l.Write(record)
	}
	for _, f := range l.files {
		size += len(f.Path)
	}
	return size, l.more
}

// CompressDump exports the compression of a dump, which checks its end.
func CompressDump(engine string, r io.Reader) io.Reader {
	return (&dump{ends: ends[engine]}).compress(r)
}

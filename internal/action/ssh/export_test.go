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

// CompressDump exports the compression of a dump, which checks its end.
func CompressDump(engine string, r io.Reader) io.Reader {
	return (&dump{ends: ends[engine]}).compress(r)
}

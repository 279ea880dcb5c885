package ssh

import "io"

// DeleteScript exports deleteScript.
const DeleteScript = deleteScript

// TarToZip exports the conversion of a compressed tar to a zip.
func TarToZip(r io.Reader) io.Reader { return (&zipper{}).convert(r) }

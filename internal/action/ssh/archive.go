package ssh

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
)

// This file is archive. The host packs with tar, whose output is the artefact. A zip is made
// of it on its way: few hosts have a zip that can write to a pipe.

//go:embed schema/archive.json
var archiveSchema []byte

type archiveArgs struct {
	Paths          []string `json:"paths"`
	Exclude        []string `json:"exclude"`
	Format         string   `json:"format"`
	Name           string   `json:"name"`
	Sudo           bool     `json:"sudo"`
	SudoCredential string   `json:"sudo_credential"`
}

// Archived is the result of archive.
type Archived struct {
	Artefact  hostler.ArtefactID `json:"artefact"`
	Name      string             `json:"name"`
	Format    string             `json:"format"`
	Bytes     int64              `json:"bytes"`
	SHA256    string             `json:"sha256"`
	Skipped   int                `json:"skipped,omitempty"` // links and devices that a zip cannot have
	DurationS float64            `json:"duration_s"`
}

func (f *Family) archiveAction() action.Action {
	return action.Action{
		Name:  "archive",
		Title: hostler.Text{EN: "Archive", ZH: "归档"},
		Help: hostler.Text{
			EN: "Packs files and folders of the asset into an artefact, as tar.gz, tar or zip. Links are not followed.",
			ZH: "将资产上的文件和目录打包为产物（tar.gz、tar 或 zip）。不跟随链接。",
		},
		Schema: archiveSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:  checkArchive, Credentials: sudoCredential, Run: f.runArchive,
	}
}

func checkArchive(raw json.RawMessage) []hostler.FieldError {
	var a archiveArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	var f check.Fields
	for i, p := range a.Paths {
		checkHostPath(&f, check.Item("paths", i), p)
	}
	return append(f.Faults(), checkArtefactName(a.Name)...)
}

// archiveScript runs tar with its arguments. GNU tar ends with 1 when a file changed while
// it was read, as logs do; the archive is complete then.
const archiveScript = `tar "$@"
code=$?
if [ $code = 1 ] && tar --version 2>/dev/null | grep -q GNU; then
	echo "some files changed while they were read" >&2
	exit 0
fi
exit $code
`

var archiveTypes = map[string]string{"tar.gz": "application/gzip", "tar": "application/x-tar", "zip": "application/zip"}

func (f *Family) runArchive(ctx context.Context, c *action.Call) action.Result {
	var args archiveArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	args.Format = cmp.Or(args.Format, "tar.gz")
	argv := []string{"-c", "-f", "-", "-C", "/"}
	if args.Format != "tar" {
		argv = append(argv, "-z")
	}
	for _, x := range args.Exclude {
		argv = append(argv, "--exclude="+x)
	}
	argv = append(argv, "--")
	for _, p := range args.Paths {
		argv = append(argv, strings.TrimPrefix(p, "/"))
	}
	p := program{script: &script{text: archiveScript, interpreter: "/bin/sh", args: argv}, env: map[string]string{"LC_ALL": "C"}}
	if args.Sudo {
		if p.runAs, p.password, err = h.sudo("root", args.SudoCredential); err != nil {
			return action.ResultOf(err)
		}
	}
	name := cmp.Or(args.Name, c.Asset.Name+"."+args.Format)
	if hostler.CheckFileName("name", name) != nil {
		name = "archive." + args.Format
	}
	began := time.Now()
	z := &zipper{}
	convert := func(r io.Reader) io.ReadCloser { return io.NopCloser(&volume{Reader: r, call: c}) }
	if args.Format == "zip" {
		convert = func(r io.Reader) io.ReadCloser { return z.convert(&volume{Reader: r, call: c}) }
	}
	a, err := h.storeConverted(ctx, name, archiveTypes[args.Format], p, convert)
	if err != nil {
		return action.ResultOf(err)
	}
	return action.Succeeded(Archived{
		Artefact: a.ID, Name: a.Name, Format: args.Format, Bytes: a.Size, SHA256: a.SHA256, Skipped: z.skipped,
		DurationS: float64(time.Since(began).Milliseconds()) / 1000,
	})
}

// maxZipped is how many files a zip has. Its directory, which is written at the end, is in
// memory with their names, which have up to maxZippedNames bytes together.
const (
	maxZipped      = 100_000
	maxZippedNames = 32 << 20
)

// zipper converts a compressed tar to a zip.
type zipper struct {
	skipped int
	added   int
	names   int // bytes
}

// convert returns the zip of a tar, to be read to its end or closed.
func (z *zipper) convert(r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(z.copy(zip.NewWriter(pw), r)) }()
	return pr
}

func (z *zipper) copy(w *zip.Writer, r io.Reader) error {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return tarFault(err)
	}
	for t := tar.NewReader(gz); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return w.Close()
		}
		if err != nil {
			return tarFault(err)
		}
		if err := z.add(w, h, t); err != nil {
			return err
		}
	}
}

func (z *zipper) add(w *zip.Writer, h *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(path.Clean(h.Name), "./")
	switch {
	case h.Typeflag == tar.TypeLink:
		return action.NewFault(KindFile, "%q is a hard link, which a zip cannot have; use tar.gz", "%q 是硬链接，zip 无法保存；请用 tar.gz", h.Name).Final()
	case !filepath.IsLocal(name): // who unpacks it must stay in its folder
		return action.NewFault(KindFile, "the host packed a file outside of the paths", "主机打包了路径之外的文件").Final()
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
		z.skipped++
		return nil
	}
	z.added++
	if z.names += len(name); z.added > maxZipped || z.names > maxZippedNames {
		return action.NewFault(KindFile, "there are more files than a zip can have here (%d); use tar.gz", "文件数超过 zip 的上限（%d）；请用 tar.gz", maxZipped).Final()
	}
	entry, err := zip.FileInfoHeader(h.FileInfo())
	if err != nil {
		return tarFault(err)
	}
	entry.Name, entry.Method = name, zip.Deflate
	if h.Typeflag == tar.TypeDir {
		entry.Name, entry.Method = name+"/", zip.Store
	}
	out, err := w.CreateHeader(entry)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, content); err != nil { //nolint:gosec // the artefact has a limit
		return tarFault(err)
	}
	return nil
}

// tarFault is the fault of an archive that cannot be read.
func tarFault(err error) error {
	if f, ok := errors.AsType[*action.Fault](err); ok {
		return f
	}
	return action.NewFault(KindFile, "the host did not send a valid archive", "主机未返回有效的归档").Because(err)
}

// volume reports how much has come.
type volume struct {
	io.Reader
	call     *action.Call
	done     int64
	reported time.Time
}

// Read implements io.Reader.
func (v *volume) Read(p []byte) (int, error) {
	n, err := v.Reader.Read(p)
	v.done += int64(n)
	if time.Since(v.reported) >= time.Second {
		v.reported = time.Now()
		v.call.Progress(hostler.Progress{Text: humanize.IBytes(uint64(v.done))}) //nolint:gosec // not negative
	}
	return n, err
}

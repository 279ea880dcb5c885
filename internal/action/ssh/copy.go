package ssh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the schema
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
)

// This file is file_copy. An upload goes to a file beside the target, whose name has the
// checksum of the content: a later attempt continues it. Once its checksum is right it
// replaces the target in one step. With sudo, the file is in the home of the login, and a
// script copies it as root, and checks it again, as other processes of the user could have
// changed it.

//go:embed schema/file_copy.json
var copySchema []byte

// resumeBack is how much of an unfinished upload is sent again: its end may have gaps, as
// many requests are under way at once.
const resumeBack = 2 * sftpRequests * 32 << 10

const (
	upload   = "upload"
	download = "download"
)

type copyArgs struct {
	Direction      string  `json:"direction"`
	Path           string  `json:"path"`
	Artefact       string  `json:"artefact"`
	Content        *string `json:"content"`
	Name           string  `json:"name"`
	Mode           string  `json:"mode"`
	Sudo           bool    `json:"sudo"`
	SudoCredential string  `json:"sudo_credential"`
	Owner          string  `json:"owner"`
}

// Copied is the result of file_copy.
type Copied struct {
	Direction string             `json:"direction"`
	Path      string             `json:"path"`
	Bytes     int64              `json:"bytes"`
	SHA256    string             `json:"sha256"`
	Changed   bool               `json:"changed"`           // false: the file was already there
	Resumed   int64              `json:"resumed,omitempty"` // bytes that an earlier attempt had sent
	Artefact  hostler.ArtefactID `json:"artefact,omitzero"`
	DurationS float64            `json:"duration_s"`
}

func (f *Family) copyAction() action.Action {
	return action.Action{
		Name:  "file_copy",
		Title: hostler.Text{EN: "Copy a file", ZH: "复制文件"},
		Help: hostler.Text{
			EN: "Copies a file to the asset over SFTP, from an artefact or a text, or from the asset to an artefact. " +
				"An upload is resumed, verified by SHA-256, replaces the file in one step, and is skipped when it is equal.",
			ZH: "通过 SFTP 将产物或文本复制到资产，或将资产上的文件复制为产物。上传可续传，经 SHA-256 校验后原子替换；内容相同则跳过。",
		},
		Schema: copySchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(raw json.RawMessage) action.Traits {
			var a copyArgs
			down := json.Unmarshal(raw, &a) == nil && a.Direction == download
			return action.Traits{Idempotent: down, Changes: !down}
		},
		Check: checkCopy, Credentials: sudoCredential, Commands: copyCommands, Run: f.runCopy,
	}
}

// copyCommands is what an upload does, as a command.
func copyCommands(raw json.RawMessage) []risk.Command {
	var a copyArgs
	if json.Unmarshal(raw, &a) != nil || a.Direction == download {
		return nil
	}
	return []risk.Command{{Path: "path", Kind: risk.Argv, Argv: []string{"cp", "/dev/stdin", a.Path}}}
}

func checkCopy(raw json.RawMessage) []hostler.FieldError {
	var a copyArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	var f check.Fields
	checkHostPath(&f, "path", a.Path)
	up := a.Direction == upload
	f.Require(!up || (a.Artefact != "") != (a.Content != nil), "artefact",
		"an upload needs either artefact or content", "上传须且只能提供 artefact 或 content")
	f.Require(up || a.Artefact == "" && a.Content == nil && a.Mode == "" && a.Owner == "", "direction",
		"a download takes no artefact, content, mode or owner", "下载不接受 artefact、content、mode 和 owner")
	f.Require(!up || a.Name == "", "name", "goes with a download only", "仅用于下载")
	return append(f.Faults(), checkArtefactName(a.Name)...)
}

// checkHostPath refuses a path that names something else than it shows.
func checkHostPath(f *check.Fields, field, p string) {
	f.Require(path.IsAbs(p) && path.Clean(p) == p && p != "/", field,
		"must be an absolute path without . and .. and without a slash at its end", "必须是绝对路径，不含 . 和 ..，末尾不带斜杠")
}

func (f *Family) runCopy(ctx context.Context, c *action.Call) action.Result {
	var args copyArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	x := &fileCopy{host: h, args: args, began: time.Now(), res: Copied{Direction: args.Direction, Path: args.Path}}
	if args.Sudo {
		if x.root, x.password, err = h.sudo("root", args.SudoCredential); err != nil {
			return action.ResultOf(err)
		}
	}
	if args.Direction == download {
		err = x.download(ctx)
	} else {
		err = x.upload(ctx)
	}
	x.res.DurationS = float64(time.Since(x.began).Milliseconds()) / 1000
	if err != nil {
		res := action.ResultOf(err)
		res.Value = x.res
		return res
	}
	return action.Succeeded(x.res)
}

// fileCopy is one call of file_copy.
type fileCopy struct {
	*host
	args           copyArgs
	root, password string // of sudo
	began          time.Time
	res            Copied
}

// output runs a program and returns the beginning of its output.
func (x *fileCopy) output(ctx context.Context, p program) (out string, e Ended, lastErrLine string, err error) {
	b := &limited{left: 4096}
	e, lastErrLine, err = x.runTimed(ctx, p, b, io.Discard)
	return b.String(), e, lastErrLine, err
}

// limited takes the beginning of an output.
type limited struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, _ = l.Buffer.Write(p[:n])
	return len(p), nil
}

// content opens what is uploaded. The content of an artefact is read twice: equal files are
// not sent, and what is sent must have the right checksum.
func (x *fileCopy) content(ctx context.Context) (io.ReadCloser, int64, string, error) {
	if x.args.Content != nil {
		sum := sha256.Sum256([]byte(*x.args.Content))
		return io.NopCloser(strings.NewReader(*x.args.Content)), int64(len(*x.args.Content)), hex.EncodeToString(sum[:]), nil
	}
	a, r, err := x.call.OpenArtefact(ctx, x.args.Artefact)
	return r, a.Size, a.SHA256, err
}

func (x *fileCopy) upload(ctx context.Context) error {
	src, size, sum, err := x.content(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	x.res.Bytes, x.res.SHA256 = size, sum
	fs, err := x.openFiles(ctx)
	if err != nil {
		return err
	}
	defer fs.close()
	if x.args.Sudo {
		return x.uploadAsRoot(ctx, fs, src)
	}
	mode, same, err := x.compare(ctx, fs)
	if err != nil || same {
		return err
	}
	part := path.Join(path.Dir(x.args.Path), ".hostler-"+sum[:16])
	if err := x.send(ctx, fs, src, part); err != nil {
		return err
	}
	if err := fs.Chmod(part, mode); err != nil {
		return fileFault(ctx, err, "setting the mode", "设置权限")
	}
	if err := fs.PosixRename(part, x.args.Path); err != nil {
		return renameFault(ctx, err)
	}
	x.res.Changed = true
	return nil
}

// renameFault is the fault of an upload whose last step failed.
func renameFault(ctx context.Context, err error) error {
	f := fileFault(ctx, err, "replacing the file", "替换文件")
	if f.Kind == KindFile {
		return f
	}
	return action.NewUnknownFault(f.Kind, "the file may have been replaced: %[1]s", "文件可能已被替换：%[2]s", f.Text.EN, f.Text.ZH).Because(err)
}

// compare returns the mode that the file gets, and whether it is already as it should be.
func (x *fileCopy) compare(ctx context.Context, fs *files) (mode os.FileMode, same bool, err error) {
	mode = 0o644
	old, err := fs.Lstat(x.args.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		old = nil
	case err != nil:
		return 0, false, fileFault(ctx, err, "looking at the file", "查看文件")
	case old.IsDir():
		return 0, false, action.NewFault(KindFile, "%s is a folder", "%s 是目录", x.args.Path).Final()
	case old.Mode().IsRegular():
		mode = old.Mode().Perm()
	}
	if x.args.Mode != "" {
		mode = octal(x.args.Mode)
	}
	if old == nil || !old.Mode().IsRegular() || old.Size() != x.res.Bytes || old.Mode().Perm() != mode {
		return mode, false, nil
	}
	sum, err := x.sumOf(ctx, fs, x.args.Path)
	return mode, sum == x.res.SHA256, err
}

func octal(s string) os.FileMode {
	n, _ := strconv.ParseUint(s, 8, 32) // the schema allows nothing else
	return os.FileMode(n)
}

// sumOf returns the SHA-256 of a file on the host: by the host, or where it has no sha256sum,
// by reading the file.
func (x *fileCopy) sumOf(ctx context.Context, fs *files, file string) (string, error) {
	out, e, _, err := x.output(ctx, program{argv: []string{"sha256sum", "--", file}})
	if sum := strings.TrimPrefix(out, `\`); err == nil && e.ExitCode == 0 && len(sum) > 64 {
		return sum[:64], nil
	}
	f, err := fs.Open(file)
	if err != nil {
		return "", fileFault(ctx, err, "reading the file", "读取文件")
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	if _, err := f.WriteTo(hash); err != nil {
		return "", fileFault(ctx, err, "reading the file", "读取文件")
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// send writes the content into the file part and verifies it. It continues what an earlier
// attempt left, unless that turns out to be something else.
func (x *fileCopy) send(ctx context.Context, fs *files, src io.ReadCloser, part string) error {
	from, err := x.resumable(ctx, fs, part)
	if err != nil {
		return err
	}
	for {
		if err := x.write(ctx, fs, src, part, from); err != nil {
			if f := action.AsFault(err); f.Kind != hostler.ErrKindConnLost && ctx.Err() == nil {
				_ = fs.Remove(part)
			}
			return err
		}
		sum, err := x.sumOf(ctx, fs, part)
		if err != nil || sum == x.res.SHA256 {
			x.res.Resumed = from
			return err
		}
		if err := fs.Remove(part); err != nil || from == 0 {
			return action.NewFault(KindFile, "the checksum of the file on the host is wrong", "主机上文件的校验和不符").Because(err)
		}
		from = 0
		if src, _, _, err = x.content(ctx); err != nil { // from the start
			return err
		}
		defer func() { _ = src.Close() }()
	}
}

// resumable returns how many bytes of an unfinished upload can be used: none of a file that
// another user could have put there.
func (x *fileCopy) resumable(ctx context.Context, fs *files, part string) (int64, error) {
	info, err := fs.Lstat(part)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fileFault(ctx, err, "looking at the unfinished upload", "查看未完成的上传")
	}
	if info.Mode().IsRegular() {
		own, err := ownsAll(fs, info, path.Dir(part))
		if err != nil {
			return 0, fileFault(ctx, err, "looking at the unfinished upload", "查看未完成的上传")
		}
		if own {
			return min(max(info.Size()-resumeBack, 0), x.res.Bytes), nil
		}
	}
	if err := fs.Remove(part); err != nil {
		return 0, fileFault(ctx, err, "removing the unfinished upload", "删除未完成的上传")
	}
	return 0, nil
}

// ownsAll reports whether a file and its folder belong to the user of the login, and no other
// may write to the folder. In a shared one, such as /tmp, the file may be another user's, or a
// hard link to some file of the login. A new file tells who that is.
func ownsAll(fs *files, file os.FileInfo, dir string) (bool, error) {
	folder, err := fs.Stat(dir)
	if err != nil || folder.Mode().Perm()&0o022 != 0 {
		return false, err
	}
	f, err := fs.OpenFile(path.Join(dir, ".hostler-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return false, err
	}
	probe, err := f.Stat()
	if err = errors.Join(err, f.Close(), fs.Remove(f.Name())); err != nil {
		return false, err
	}
	user, ok := userOf(probe)
	for _, info := range []os.FileInfo{file, folder} {
		owner, known := userOf(info)
		ok = ok && known && owner == user
	}
	return ok, nil
}

func userOf(info os.FileInfo) (uid uint32, known bool) {
	st, ok := info.Sys().(*sftp.FileStat)
	if !ok {
		return 0, false
	}
	return st.UID, true
}

func (x *fileCopy) write(ctx context.Context, fs *files, src io.Reader, part string, from int64) error {
	flags := os.O_WRONLY | os.O_CREATE
	if from == 0 {
		_ = fs.Remove(part) // it must not exist, so that no other file is written to
		flags |= os.O_EXCL
	}
	f, err := fs.OpenFile(part, flags)
	if err != nil {
		return fileFault(ctx, err, "creating the file", "创建文件")
	}
	if err := writeFrom(fs, f, &counted{Reader: src, call: x.call, size: x.res.Bytes}, from); err != nil {
		_ = f.Close()
		return fileFault(ctx, err, "writing the file", "写入文件")
	}
	_ = f.Sync() // not every server offers it
	if err := f.Close(); err != nil {
		return fileFault(ctx, err, "writing the file", "写入文件")
	}
	return nil
}

func writeFrom(fs *files, f *sftp.File, src io.Reader, from int64) error {
	if err := fs.Chmod(f.Name(), 0o600); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, src, from); err != nil {
		return err
	}
	if err := f.Truncate(from); err != nil {
		return err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	_, err := f.ReadFromWithConcurrency(src, sftpRequests)
	return err
}

// installScript copies the file $1 as root over $2, with the mode $3 and the owner $4, if its
// checksum is $5. Who can write to the folder of the target could replace the new file by a
// link while root still changes it. So it is completed in the closest folder above that only
// root can change, like all above it, and renamed into the folder that the script has entered.
const installScript = `set -eu
umask 077
src=$1 dst=$2 mode=$3 owner=$4 sum=$5
dir=${dst%/*} name=${dst##*/}
cd -P -- "${dir:-/}"
here=$(pwd -P)
case $mode in "") mode=$(stat -c %a -- "./$name" 2>/dev/null || echo 644) ;; esac
[ ! -d "./$name" ] || { echo "$dst is a folder" >&2; exit 1; }
same() { [ "$(sha256sum <"$1" | cut -c 1-64)" = "$sum" ]; }
only_root() {
	[ "$(stat -c %u -- "$1")" = 0 ] &&
		[ -z "$(find "$1" -prune '(' -perm -002 -o -perm -020 ')' ! -perm -1000)" ]
}
safe=/ rest=${here#/}
while [ -n "$rest" ]; do
	next=${safe%/}/${rest%%/*}
	only_root "$next" || break
	safe=$next
	case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
done
[ "$(stat -c %d -- "$safe")" = "$(stat -c %d -- .)" ] || {
	echo "$here is a file system of another user; upload the file as that user" >&2
	exit 1
}
tmp=$(mktemp -d -- "${safe%/}/.hostler-XXXXXXXXXX")
trap 'rm -rf -- "$tmp"' EXIT
new=$tmp/new
cat -- "$src" >"$new"
same "$new" || { echo "the checksum of the uploaded file is wrong" >&2; exit 1; }
chown -- "$owner" "$new"
chmod -- "$mode" "$new"
if [ -f "./$name" ] && [ ! -L "./$name" ] && same "./$name" &&
	[ "$(stat -c '%a %u %g' -- "./$name")" = "$(stat -c '%a %u %g' -- "$new")" ]; then
	echo same
	exit 0
fi
sync -- "$new" 2>/dev/null || sync
mv -f -T -- "$new" "./$name"
echo changed
`

// uploadAsRoot uploads the file into the home of the login, and lets root copy it.
func (x *fileCopy) uploadAsRoot(ctx context.Context, fs *files, src io.ReadCloser) error {
	home, err := fs.Getwd()
	if err != nil {
		return fileFault(ctx, err, "finding the home folder", "查找主目录")
	}
	part := path.Join(home, ".hostler-"+x.res.SHA256[:16])
	if err := x.send(ctx, fs, src, part); err != nil {
		return err
	}
	owner := cmp.Or(x.args.Owner, "root:root")
	if !strings.Contains(owner, ":") {
		owner += ":" // the login group of the user
	}
	out, e, line, err := x.output(ctx, program{
		script: &script{
			text: installScript, interpreter: "/bin/sh",
			args: []string{part, x.args.Path, strings.TrimPrefix(x.args.Mode, "0"), owner, x.res.SHA256},
		},
		runAs: x.root, password: x.password,
	})
	if err != nil {
		return err
	}
	_ = fs.Remove(part)
	if e.ExitCode != 0 {
		return action.NewFault(KindFile, "root could not install the file: %s", "root 无法写入文件：%s", line)
	}
	x.res.Changed = strings.HasPrefix(out, "changed")
	return nil
}

// download copies the file into an artefact.
func (x *fileCopy) download(ctx context.Context) error {
	name := cmp.Or(x.args.Name, path.Base(x.args.Path))
	if hostler.CheckFileName("name", name) != nil {
		name = "file"
	}
	var a hostler.Artefact
	var err error
	if x.args.Sudo {
		a, err = x.storeOutput(ctx, name, "", program{
			script: &script{text: `[ -f "$1" ] || { echo "not a regular file" >&2; exit 1; }; exec cat -- "$1"`, interpreter: "/bin/sh", args: []string{x.args.Path}},
			runAs:  x.root, password: x.password,
		})
	} else {
		a, err = x.fetch(ctx, name)
	}
	if err != nil {
		return err
	}
	x.res.Artefact, x.res.Bytes, x.res.SHA256, x.res.Changed = a.ID, a.Size, a.SHA256, true
	return nil
}

func (x *fileCopy) fetch(ctx context.Context, name string) (hostler.Artefact, error) {
	fs, err := x.openFiles(ctx)
	if err != nil {
		return hostler.Artefact{}, err
	}
	defer fs.close()
	info, err := fs.Stat(x.args.Path)
	if err != nil {
		return hostler.Artefact{}, fileFault(ctx, err, "looking at the file", "查看文件")
	}
	if !info.Mode().IsRegular() { // a device or pipe may never end
		return hostler.Artefact{}, action.NewFault(KindFile, "%s is not a regular file", "%s 不是普通文件", x.args.Path).Final()
	}
	f, err := fs.Open(x.args.Path)
	if err != nil {
		return hostler.Artefact{}, fileFault(ctx, err, "reading the file", "读取文件")
	}
	defer func() { _ = f.Close() }()
	pr, pw := io.Pipe()
	go func() {
		_, err := f.WriteTo(pw) // with many requests under way
		pw.CloseWithError(err)
	}()
	defer func() { _ = pr.Close() }()
	a, err := x.call.StoreArtefact(ctx, name, "", &counted{Reader: pr, call: x.call, size: info.Size()})
	if err != nil {
		return a, fileFault(ctx, err, "reading the file", "读取文件")
	}
	if sum, err := x.sumOf(ctx, fs, x.args.Path); err != nil || sum != a.SHA256 {
		return a, action.NewFault(KindFile, "the file changed while it was copied", "复制期间文件发生了变化").Because(err)
	}
	return a, nil
}

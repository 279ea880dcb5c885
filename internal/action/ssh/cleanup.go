package ssh

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the schema
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
)

// This file is file_cleanup. One script lists the files; what to delete is decided here; a
// second script deletes it in steps. A folder may be replaced by a link between the two, or
// at any time, by whoever may write there. So the script enters the folder of a file, and
// compares where it is then with where it should be, before it deletes a name in it.

//go:embed schema/file_cleanup.json
var cleanupSchema []byte

const (
	// maxCleanup is how many files one job deletes.
	maxCleanup = 100_000
	// cleanupStep is how many files one program deletes.
	cleanupStep = 2000
	// maxRecord is how long a record of the list may be.
	maxRecord = 64 << 10
	// maxListing is how many bytes the paths of a list have together.
	maxListing = 32 << 20
	// listedFiles is how many files are in the result; the job's output has all.
	listedFiles = 100
)

// neverCleaned are folders that the system needs. Folders in them may be cleaned.
var neverCleaned = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root",
	"/run", "/sbin", "/srv", "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/sbin", "/usr/share",
	"/var", "/var/lib",
}

type cleanupArgs struct {
	Path           string           `json:"path"`
	Glob           string           `json:"glob"`
	OlderThan      hostler.Duration `json:"older_than"`
	LargerThan     *int64           `json:"larger_than"`
	KeepNewest     *int             `json:"keep_newest"`
	Recursive      bool             `json:"recursive"`
	DryRun         bool             `json:"dry_run"`
	Sudo           bool             `json:"sudo"`
	SudoCredential string           `json:"sudo_credential"`
}

// CleanedFile is a file that was deleted, or would be.
type CleanedFile struct {
	Path    string    `json:"path"` // below the folder
	Bytes   int64     `json:"bytes"`
	Changed time.Time `json:"changed"`
}

// Cleaned is the result of file_cleanup.
type Cleaned struct {
	DryRun  bool          `json:"dry_run,omitempty"`
	Matched int           `json:"matched"` // by the pattern
	Deleted int           `json:"deleted"` // or would be
	Bytes   int64         `json:"bytes"`
	Failed  int           `json:"failed,omitempty"`
	Files   []CleanedFile `json:"files"`          // the first 100
	More    bool          `json:"more,omitempty"` // run it again to delete the others
}

func (f *Family) cleanupAction() action.Action {
	return action.Action{
		Name:  "file_cleanup",
		Title: hostler.Text{EN: "Clean up files", ZH: "清理文件"},
		Help: hostler.Text{
			EN: "Deletes files of a folder on the asset by age, size and name, or all but the newest; a dry run lists them. " +
				"Links are neither followed nor deleted.",
			ZH: "按时间、大小和名称删除资产某目录中的文件，或仅保留最新的若干个；可试运行列出。不跟随也不删除链接。",
		},
		Schema: cleanupSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(raw json.RawMessage) action.Traits {
			var a cleanupArgs
			return action.Traits{Idempotent: true, Changes: json.Unmarshal(raw, &a) != nil || !a.DryRun}
		},
		Check: checkCleanup, Credentials: sudoCredential, Commands: cleanupCommands, Run: f.runCleanup,
	}
}

func cleanupCommands(raw json.RawMessage) []risk.Command {
	var a cleanupArgs
	if json.Unmarshal(raw, &a) != nil || a.DryRun {
		return nil
	}
	argv := []string{"find", a.Path, "-name", cmp.Or(a.Glob, "*"), "-type", "f", "-delete"}
	return []risk.Command{{Path: "path", Kind: risk.Argv, Argv: argv}}
}

func checkCleanup(raw json.RawMessage) []hostler.FieldError {
	var a cleanupArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	var f check.Fields
	checkHostPath(&f, "path", a.Path)
	f.Require(!slices.Contains(neverCleaned, a.Path), "path", "the system needs this folder; name one below it",
		"系统需要此目录；请指定其下的目录")
	return f.Faults()
}

// enterScript enters the folder $1, which must not be reached through a link.
const enterScript = `root=$1
cd -P -- "$root" || exit 1
[ "$(pwd -P)" = "$root" ] || { echo "$root is reached through a symbolic link; give its real path" >&2; exit 1; }
`

// listScript prints the time of the host, and each file: time, size and path, separated by
// blanks and ended by a zero byte.
const listScript = enterScript + `date +%s
if [ "$3" = 1 ]; then
	exec find -P . -xdev -mindepth 1 -type f -name "$2" -printf '%T@ %s %P\0'
fi
exec find -P . -xdev -mindepth 1 -maxdepth 1 -type f -name "$2" -printf '%T@ %s %P\0'
`

// deleteScript reads folders (D) and names of files in them (F), and prints for each file
// whether it was deleted.
const deleteScript = enterScript + `here=
while IFS= read -r line; do
	rest=${line#?}
	case $line in
	D*)
		here=
		want=$root
		[ -z "$rest" ] || want=$root/$rest
		cd -P -- "$root" && cd -P -- "./$rest" && [ "$(pwd -P)" = "$want" ] && here=1
		;;
	F*/*) echo - ;;
	F*)
		if [ -n "$here" ] && [ -f "./$rest" ] && [ ! -L "./$rest" ] && rm -f -- "./$rest"; then
			echo +
		else
			echo -
		fi
		;;
	esac
done
`

func (f *Family) runCleanup(ctx context.Context, c *action.Call) action.Result {
	var args cleanupArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	x := &cleanup{host: h, args: args}
	if args.Sudo {
		if x.root, x.password, err = h.sudo("root", args.SudoCredential); err != nil {
			return action.ResultOf(err)
		}
	}
	x.res.DryRun = args.DryRun
	if err = x.list(ctx); err == nil {
		err = x.delete(ctx)
	}
	if err != nil {
		res := action.ResultOf(err)
		if res.Outcome == hostler.OutcomeUnknown {
			res.Outcome = hostler.OutcomeFailed // another attempt does what is left
		}
		res.Value = x.res
		return res
	}
	if x.res.Failed > 0 {
		return action.Failed(x.res, KindFile, "%d of %d files could not be deleted", "%d 个文件未能删除（共 %d 个）",
			x.res.Failed, x.res.Failed+x.res.Deleted)
	}
	return action.Succeeded(x.res)
}

// cleanup is one call of file_cleanup.
type cleanup struct {
	*host
	args           cleanupArgs
	root, password string // of sudo
	chosen         []CleanedFile
	res            Cleaned
}

func (x *cleanup) program(text string, args ...string) program {
	return program{
		script: &script{text: text, interpreter: "/bin/sh", args: append([]string{x.args.Path}, args...)},
		env:    map[string]string{"LC_ALL": "C"}, runAs: x.root, password: x.password,
	}
}

// list finds the files and chooses what to delete.
func (x *cleanup) list(ctx context.Context) error {
	recursive := "0"
	if x.args.Recursive {
		recursive = "1"
	}
	out := &listing{}
	ended, line, err := x.runTimed(ctx, x.program(listScript, cmp.Or(x.args.Glob, "*"), recursive), out, x.call.Stderr)
	if err != nil {
		return err
	}
	if ended.ExitCode != 0 && (out.now.IsZero() || strings.Contains(line, "-printf")) {
		return action.NewFault(KindFile, "the folder cannot be listed: %s", "无法列出目录：%s", line)
	}
	x.res.Matched, x.res.More = len(out.files), out.more
	if out.more && x.args.KeepNewest != nil {
		return action.NewFault(KindFile, "more than %d files match, too many for keep_newest", "超过 %d 个文件匹配，无法使用 keep_newest", len(out.files)).Final()
	}
	slices.SortStableFunc(out.files, func(a, b CleanedFile) int { return b.Changed.Compare(a.Changed) })
	if x.args.KeepNewest != nil {
		out.files = out.files[min(*x.args.KeepNewest, len(out.files)):]
	}
	for _, f := range out.files {
		old := x.args.OlderThan == 0 || out.now.Sub(f.Changed) > x.args.OlderThan.D()
		if old && (x.args.LargerThan == nil || f.Bytes > *x.args.LargerThan) {
			x.chosen = append(x.chosen, f)
		}
	}
	slices.SortFunc(x.chosen, func(a, b CleanedFile) int {
		return cmp.Or(cmp.Compare(path.Dir(a.Path), path.Dir(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return nil
}

// delete deletes the chosen files in steps.
func (x *cleanup) delete(ctx context.Context) error {
	x.res.Files = slices.Clone(x.chosen[:min(len(x.chosen), listedFiles)])
	for step := range slices.Chunk(x.chosen, cleanupStep) {
		gone := strings.Repeat("+", len(step))
		if !x.args.DryRun {
			var err error
			if gone, err = x.deleteStep(ctx, step); err != nil {
				return err
			}
		}
		for i, f := range step {
			if i >= len(gone) || gone[i] != '+' {
				x.res.Failed++
				_, _ = fmt.Fprintf(x.call.Stderr, "not deleted: %s\n", f.Path)
				continue
			}
			x.res.Deleted++
			x.res.Bytes += f.Bytes
			_, _ = fmt.Fprintf(x.call.Stdout, "%s\n", f.Path)
		}
		x.call.Progress(hostler.Progress{Percent: float64(x.res.Deleted+x.res.Failed) * 100 / float64(len(x.chosen))})
	}
	return nil
}

// deleteStep deletes some files and returns "+" or "-" for each.
func (x *cleanup) deleteStep(ctx context.Context, files []CleanedFile) (string, error) {
	var in strings.Builder
	dir := "."
	in.WriteString("D\n")
	for _, f := range files {
		if d := path.Dir(f.Path); d != dir {
			dir = d
			in.WriteString("D" + strings.TrimPrefix(d, ".") + "\n")
		}
		in.WriteString("F" + path.Base(f.Path) + "\n")
	}
	p := x.program(deleteScript)
	p.stdin = in.String()
	out := &limited{left: 2 * len(files)}
	ended, line, err := x.runTimed(ctx, p, out, io.Discard)
	if err == nil && ended.ExitCode != 0 && out.Len() == 0 {
		err = action.NewFault(KindFile, "the folder cannot be entered: %s", "无法进入目录：%s", line)
	}
	return strings.ReplaceAll(out.String(), "\n", ""), err
}

// listing parses the output of listScript.
type listing struct {
	now   time.Time
	files []CleanedFile
	size  int // of the paths
	more  bool
	rest  []byte
}

// Write implements io.Writer.
func (l *listing) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	if l.now.IsZero() {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			l.rest = l.rest[:min(len(l.rest), maxRecord)] // a hostile host sends no line break
			return len(p), nil
		}
		sec, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		l.now, l.rest = time.Unix(sec, 0), rest
	}
	for {
		record, rest, found := bytes.Cut(l.rest, []byte{0})
		if !found {
			break
		}
		l.add(string(record))
		l.rest = rest
	}
	if len(l.rest) > maxRecord { // not a record: a hostile host
		l.rest, l.more = nil, true
	}
	l.rest = slices.Clone(l.rest)
	return len(p), nil
}

// add adds a record. Names with a line break, and what is not a path below the folder, are
// left alone.
func (l *listing) add(record string) {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 || parts[2] == "" || strings.ContainsAny(parts[2], "\n\r") || path.Clean(parts[2]) != parts[2] ||
		path.IsAbs(parts[2]) || strings.HasPrefix(parts[2], "../") || parts[2] == ".." {
		return
	}
	at, err1 := strconv.ParseFloat(parts[0], 64)
	size, err2 := strconv.ParseInt(parts[1], 10, 64)
	switch {
	case err1 != nil || err2 != nil:
	case len(l.files) == maxCleanup, l.size+len(parts[2]) > maxListing:
		l.more = true
	default:
		l.size += len(parts[2])
		l.files = append(l.files, CleanedFile{Path: parts[2], Bytes: size, Changed: time.UnixMicro(int64(at * 1e6)).UTC()})
	}
}

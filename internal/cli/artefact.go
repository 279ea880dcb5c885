package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// artefactCmd is 'hostler artefact'.
func (a *app) artefactCmd() *cobra.Command {
	return a.group("artefact", doc{
		short: txt("list and download the files that jobs produced", "列出并下载作业生成的文件"),
		long: txt(`List and download artefacts: files that jobs produced, such as exports, archives and
backups. They are deleted with the output of their jobs, after the server's retention.`,
			`列出并下载产物：作业生成的文件，如导出、归档和备份。超过服务器的保留期后与作业输出一并删除。`),
		example: `hostler artefact list --job job_0001a2b3c4d
hostler artefact get art_0001a2b3c4d
hostler artefact get art_0001a2b3c4d -f - | tar tz`,
	}, a.artefactList(), a.artefactGet(), a.artefactDelete())
}

func artefactIDs() completer {
	return named(func(c *client.Client) client.Lister[hostler.Artefact] {
		return c.ArtefactsLister(hostler.ArtefactFilter{})
	}, func(x hostler.Artefact) string { return x.ID.String() + "\t" + term.Escape(x.Name) })
}

func (a *app) artefactColumns() []column[hostler.Artefact] {
	return []column[hostler.Artefact]{
		col("id", "ID", func(x hostler.Artefact) string { return x.ID.String() }),
		col("name", "名称", func(x hostler.Artefact) string { return x.Name }),
		col("size", "大小", func(x hostler.Artefact) string { return humanize.IBytes(uint64(max(x.Size, 0))) }),
		col("job", "作业", func(x hostler.Artefact) string { return x.Job.String() }),
		col("run", "执行", func(x hostler.Artefact) string { return dash(x.Run.String()) }),
		col("created", "创建时间", func(x hostler.Artefact) string { return localTime(x.CreatedAt) }),
		col("sha256", "SHA-256", func(x hostler.Artefact) string { return x.SHA256 }),
	}
}

func (a *app) artefactList() *cobra.Command {
	var f hostler.ArtefactFilter
	var limit int
	cmd := a.cmd("list [flags]", doc{
		short:   txt("list artefacts, newest first", "列出产物，最新在前"),
		long:    txt("List artefacts, newest first. Filters are combined.", "列出产物，最新在前；筛选条件可组合。"),
		example: "hostler artefact list --run run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, more, err := collect(ctx, c.ArtefactsLister(f), limit)
		if err != nil {
			return err
		}
		a.noteMore(more, limit)
		return list(a, items, a.artefactColumns())
	})
	fs := cmd.Flags()
	fs.Var(idFlag{&f.Job}, "job", a.t("only those of this job", "只列此作业的产物"))
	fs.Var(idFlag{&f.Run}, "run", a.t("only those of this run", "只列此执行的产物"))
	a.complete(cmd, "job", jobIDs())
	a.complete(cmd, "run", runIDs())
	a.limitFlag(cmd, &limit)
	return cmd
}

func (a *app) artefactGet() *cobra.Command {
	var file string
	cmd := a.cmd("get ARTEFACT [flags]", doc{
		short: txt("download an artefact", "下载产物"),
		long: txt(`Download an artefact into the working folder, under its own name unless --file gives
another. An existing file is replaced only with --file. The checksum is verified.`,
			`将产物下载到当前目录；默认使用其自身的名称，可用 --file 指定。只有指定 --file 时才会覆盖已有文件。
下载后校验其校验和。`),
		example: "hostler artefact get art_0001a2b3c4d\nhostler artefact get art_0001a2b3c4d -f report.csv",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.ArtefactID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		return a.download(ctx, c, id, file)
	})
	cmd.Flags().StringVarP(&file, "file", "f", "", a.t("file to write; - is standard output", "输出文件；- 表示标准输出"))
	a.complete(cmd, "", artefactIDs())
	return cmd
}

// download writes an artefact to a file. A file that is not complete does not appear.
func (a *app) download(ctx context.Context, c *client.Client, id hostler.ArtefactID, file string) error {
	x, err := c.Artefact(ctx, id)
	if err != nil {
		return err
	}
	sum := sha256.New()
	write := func(w io.Writer) error {
		if err := c.DownloadArtefact(ctx, id, io.MultiWriter(w, sum)); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != x.SHA256 {
			return hostler.Errorf(hostler.CodeInternal, "the checksum is wrong: download it again", "校验和不符：请重新下载")
		}
		return nil
	}
	if file == "-" {
		return write(a.out)
	}
	if file == "" {
		// The name may come from a host; the server accepts no name with a folder in it.
		file = filepath.Base(x.Name)
		if err := hostler.CheckFileName("name", file); err != nil {
			return err
		}
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			return hostler.Errorf(hostler.CodeConflict, "the file %s exists; replace it with -f %[1]s, or give another name",
				"文件 %s 已存在；用 -f %[1]s 覆盖，或指定其他名称", file)
		}
	}
	if err := writeFile(file, write); err != nil {
		return err
	}
	return one(a, x, append(a.artefactColumns(), col("file", "文件", func(hostler.Artefact) string { return cmp.Or(file, "-") })))
}

func (a *app) artefactDelete() *cobra.Command {
	cmd := a.cmd("delete ARTEFACT", doc{
		short:   txt("delete an artefact", "删除产物"),
		long:    txt("Delete an artefact before its time.", "提前删除产物。"),
		example: "hostler artefact delete art_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.ArtefactID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		return c.DeleteArtefact(ctx, id)
	})
	a.complete(cmd, "", artefactIDs())
	return cmd
}

// jobArtefacts is 'hostler job artefacts'.
func (a *app) jobArtefacts() *cobra.Command {
	cmd := a.cmd("artefacts JOB", doc{
		short:   txt("list the files that a job produced", "列出作业生成的文件"),
		long:    txt("List the artefacts of a job; 'hostler artefact get' downloads one.", "列出作业的产物；用 'hostler artefact get' 下载。"),
		example: "hostler job artefacts job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.JobID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		items, err := c.JobArtefacts(ctx, id)
		if err != nil {
			return err
		}
		return list(a, items, a.artefactColumns())
	})
	a.complete(cmd, "", jobIDs())
	return cmd
}

package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/auditchain"
)

// verifyFlags are the flags of 'hostler audit verify'.
type verifyFlags struct {
	files  []string
	keys   []string
	expect string
	known  int64
}

// auditVerify is 'hostler audit verify'. Its exit code tells a script if there are faults.
func (a *app) auditVerify() *cobra.Command {
	var f verifyFlags
	cmd := a.localCmd("verify [flags]", doc{
		short: txt("check that the audit was not changed", "验证审计未被改动"),
		long: txt(`Check every row of the audit in the database: that none was changed, deleted, moved or
inserted, and that the newest checkpoint is signed by a key of this server. It needs an
admin of the project default.

The command prints the end of the chain. Write it down elsewhere: --expect checks later
that the chain still has it.

With --file, check archives instead, in the order in which they follow each other, up to
the last one that the server has archived. With --key, the public key that
'audit verify -o json' prints, no server is needed, and any file can be checked alone.
--expect then applies to the files.

The exit code is 0 if there is no fault.`,
			`检查数据库中的每条审计记录：没有被修改、删除、移动或插入，且最新的检查点由此服务的密钥签名。
需要 default 项目的管理员。

命令会显示链的末尾。请另行记下：以后可用 --expect 确认链中仍有它。

使用 --file 时改为检查归档文件，须按先后顺序给出，直至服务最后归档的文件。若用 --key 提供
'audit verify -o json' 显示的公钥，则无需连接服务，也可单独检查任一文件；此时 --expect
针对这些文件。

没有发现问题时退出码为 0。`),
		example: `hostler audit verify
hostler audit verify --expect 1042:9f86d081884c7d65…
hostler audit verify --file audit-000000000001-000000010000.jsonl --key 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=`,
	}, func(ctx context.Context, _ []string) error {
		if len(f.files) > 0 {
			return a.verifyArchives(ctx, f)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		return a.verifyAudit(ctx, c, f)
	})
	fs := cmd.Flags()
	fs.StringArrayVar(&f.files, "file", nil, a.t("archive to check; may be repeated", "要检查的归档文件；可重复"))
	fs.StringArrayVar(&f.keys, "key", nil,
		a.t("public key that signed the archive, in base64; may be repeated (default: the keys of the server)",
			"签署归档的公钥（base64）；可重复（默认：服务的密钥）"))
	fs.StringVar(&f.expect, "expect", "", a.t("POSITION:HASH of an earlier verification, which must still be there",
		"之前验证得到的 位置:哈希，须仍然存在"))
	fs.Int64Var(&f.known, "known", 0,
		a.t("do not report recorded faults up to this position, such as that of a restored backup",
			"不报告此位置及之前已记录的问题，例如恢复备份所致"))
	return cmd
}

// maxListedFaults bounds what a verification collects.
const maxListedFaults = 1000

// verifyAudit runs every step of the server's verification.
func (a *app) verifyAudit(ctx context.Context, c *client.Client, f verifyFlags) error {
	if err := checkExpect(f.expect); err != nil {
		return err
	}
	total := hostler.AuditVerification{Faults: []hostler.AuditFault{}}
	cursor, at := "", f.expect
	for {
		v, err := c.VerifyAudit(ctx, cursor, at)
		if err != nil {
			return err
		}
		rows, faults := total.Rows+v.Rows, total.Faults
		for _, fault := range v.Faults {
			known := fault.Code == hostler.AuditBroken && fault.Position <= f.known
			if !known && len(faults) < maxListedFaults {
				faults = append(faults, fault)
			}
		}
		total, cursor, at = v, v.Next, ""
		total.Rows, total.Faults, total.Next = rows, faults, ""
		if cursor == "" {
			return a.reportVerification(total)
		}
	}
}

func checkExpect(s string) error {
	position, hash, ok := strings.Cut(s, ":")
	_, err := strconv.ParseInt(position, 10, 64)
	if s != "" && (!ok || err != nil || (&auditchain.Hash{}).UnmarshalText([]byte(hash)) != nil) {
		return hostler.Errorf(hostler.CodeInvalid, "--expect takes POSITION:HASH, with the 64 digits of a hash",
			"--expect 应为 位置:哈希，哈希为 64 位十六进制")
	}
	return nil
}

func (a *app) reportVerification(v hostler.AuditVerification) error {
	if a.output != "table" {
		if err := a.structured(v); err != nil {
			return err
		}
		return faultsError(len(v.Faults))
	}
	err := one(a, v, []column[hostler.AuditVerification]{
		col("rows", "记录数", func(v hostler.AuditVerification) string { return fmt.Sprint(v.Rows) }),
		col("not chained yet", "尚未入链", func(v hostler.AuditVerification) string { return fmt.Sprint(v.Pending) }),
		col("end", "链尾", func(v hostler.AuditVerification) string { return headText(v.Head) }),
		col("signed", "签名时间", func(v hostler.AuditVerification) string { return localTime(v.Head.At) }),
		col("signed by", "签名密钥", func(v hostler.AuditVerification) string { return dash(v.Head.Key) }),
		col("archived", "已归档", func(v hostler.AuditVerification) string { return headText(v.Archived) }),
	})
	if err != nil {
		return err
	}
	return a.reportFaults(v.Faults)
}

func headText(h hostler.AuditHead) string {
	if h.Position == 0 {
		return "-"
	}
	return fmt.Sprintf("%d:%s", h.Position, h.Hash)
}

// reportFaults lists faults, and returns an error if there are any.
func (a *app) reportFaults(faults []hostler.AuditFault) error {
	if len(faults) == 0 {
		a.note("The audit is intact.", "审计完好。")
		return nil
	}
	err := list(a, faults, []column[hostler.AuditFault]{
		col("position", "位置", func(f hostler.AuditFault) string {
			if f.Position == 0 {
				return "-"
			}
			return fmt.Sprint(f.Position)
		}),
		col("fault", "问题", func(f hostler.AuditFault) string { return string(f.Code) }),
		col("details", "详情", func(f hostler.AuditFault) string { return f.Text.In(a.lang) }),
	})
	if err != nil {
		return err
	}
	return faultsError(len(faults))
}

func faultsError(n int) error {
	if n == 0 {
		return nil
	}
	return hostler.Errorf(hostler.CodeConflict, "the audit is not as it was written: faults found: %d",
		"审计与写入时不一致：发现 %d 处问题", n)
}

// archiveReport is what -o json prints of an archive.
type archiveReport struct {
	File   string               `json:"file"`
	Rows   int                  `json:"rows"`
	From   int64                `json:"from"`
	To     int64                `json:"to"`
	Hash   string               `json:"hash"`
	Key    string               `json:"key"`
	Faults []hostler.AuditFault `json:"faults"`
}

// verifyArchives checks files that follow each other.
func (a *app) verifyArchives(ctx context.Context, f verifyFlags) error {
	if err := checkExpect(f.expect); err != nil {
		return err
	}
	trust, archived, err := a.archiveTrust(ctx, f.keys)
	if err != nil {
		return err
	}
	checks := []hostler.AuditHead{expectedHead(f.expect), archived}
	seen := map[int64]auditchain.Hash{}
	var before auditchain.Walk
	var reports []archiveReport
	var faults []hostler.AuditFault
	for i, name := range f.files {
		res, err := verifyArchive(trust, name, before, checks)
		if err != nil {
			return err
		}
		if i > 0 && !res.Follows {
			res.Faults = append(res.Faults, hostler.AuditFault{
				Code: hostler.AuditMissing, Position: res.Base,
				Text: hostler.Textf("%s does not continue the file before", "%s 与前一个文件不相接", name),
			})
		}
		before = res.End()
		maps.Copy(seen, res.Watched)
		faults = append(faults, res.Faults...)
		reports = append(reports, archiveReport{
			name, res.Rows, res.Base + 1, res.Pos, res.Hash.String(), res.Key, append([]hostler.AuditFault{}, res.Faults...),
		})
	}
	if expected := checks[0]; expected.Position > 0 && seen[expected.Position] == (auditchain.Hash{}) {
		return hostler.Errorf(hostler.CodeInvalid,
			"--expect: position %d is not in these files: give the file that has it, or leave --file out if it was not archived",
			"--expect：这些文件中没有位置 %d：请提供包含它的文件；若尚未归档，请去掉 --file", expected.Position)
	}
	faults = append(faults, compareHeads(checks, seen, before)...)
	err = list(a, reports, []column[archiveReport]{
		col("file", "文件", func(r archiveReport) string { return r.File }),
		col("rows", "记录数", func(r archiveReport) string { return fmt.Sprint(r.Rows) }),
		col("from", "起始位置", func(r archiveReport) string { return fmt.Sprint(r.From) }),
		col("to", "结束位置", func(r archiveReport) string { return fmt.Sprint(r.To) }),
		col("signed by", "签名密钥", func(r archiveReport) string { return dash(r.Key) }),
	})
	if err != nil {
		return err
	}
	if a.output != "table" {
		return faultsError(len(faults))
	}
	return a.reportFaults(faults)
}

// expectedHead is what --expect names.
func expectedHead(s string) hostler.AuditHead {
	position, hash, _ := strings.Cut(s, ":")
	n, _ := strconv.ParseInt(position, 10, 64) // checkExpect has read it
	return hostler.AuditHead{Position: n, Hash: strings.ToLower(hash)}
}

// compareHeads compares positions with those of the files, which end at a position. The
// second one is the last that the server has archived: files that end before it are not all.
func compareHeads(
	checks []hostler.AuditHead, seen map[int64]auditchain.Hash, end auditchain.Walk,
) (faults []hostler.AuditFault) {
	for i, head := range checks {
		hash, found := seen[head.Position]
		switch {
		case head.Position == 0:
		case found && hash.String() != head.Hash:
			faults = append(faults, hostler.AuditFault{
				Code: hostler.AuditTruncated, Position: head.Position,
				Text: hostler.Textf("the files do not have the expected hash at position %d",
					"归档文件在位置 %d 处的哈希与预期不符", head.Position),
			})
		case !found && i == 1:
			faults = append(faults, hostler.AuditFault{
				Code: hostler.AuditMissing, Position: end.Pos + 1,
				Text: hostler.Textf("the files end at position %d, and the server has archived up to %d: "+
					"give all later files too (with --key the server is not asked)",
					"这些文件止于位置 %d，而服务已归档到 %d：请同时提供之后的所有文件（使用 --key 时不询问服务）",
					end.Pos, head.Position),
			})
		}
	}
	return faults
}

func verifyArchive(
	trust auditchain.Trust, name string, before auditchain.Walk, watched []hostler.AuditHead,
) (auditchain.ArchiveResult, error) {
	file, err := os.Open(name)
	if err != nil {
		return auditchain.ArchiveResult{}, badFile(err)
	}
	defer file.Close()
	var positions []int64
	for _, head := range watched {
		positions = append(positions, head.Position)
	}
	return trust.VerifyArchive(file, before, positions...)
}

// archiveTrust returns the keys that --key names, or else those of the server, and the last
// position that the server has archived.
func (a *app) archiveTrust(
	ctx context.Context, named []string,
) (trust auditchain.Trust, archived hostler.AuditHead, err error) {
	trust = auditchain.Trust{}
	var keys []hostler.AuditKey
	for _, key := range named {
		keys = append(keys, hostler.AuditKey{Public: key})
	}
	if len(named) == 0 {
		c, err := a.client()
		if err != nil {
			return nil, archived, err
		}
		v, err := c.VerifyAudit(ctx, "", "")
		if err != nil {
			return nil, archived, err
		}
		keys, archived = v.Keys, v.Archived
	}
	for _, k := range keys {
		raw, err := base64.StdEncoding.DecodeString(k.Public)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, archived, hostler.Errorf(hostler.CodeInvalid, "--key takes the base64 of %d bytes",
				"--key 应为 %d 字节的 base64", ed25519.PublicKeySize)
		}
		trust.Add(raw, k.Until)
	}
	return trust, archived, nil
}

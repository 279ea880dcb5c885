package ssh

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	_ "embed" // the schema
	"encoding/json"
	"fmt"
	"io"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// This file is backup_db. The tool of the database writes its dump to standard output, which
// is compressed on its way to the artefact. A dump is complete when the tool ended well and
// its last lines say so.

//go:embed schema/backup_db.json
var backupSchema []byte

type backupArgs struct {
	Engine         string `json:"engine"`
	Database       string `json:"database"`
	Host           string `json:"host"`
	Port           int    `json:"port"`
	User           string `json:"user"`
	Credential     string `json:"credential"`
	Name           string `json:"name"`
	RunAs          string `json:"run_as"`
	SudoCredential string `json:"sudo_credential"`
}

// BackedUp is the result of backup_db.
type BackedUp struct {
	Artefact  hostler.ArtefactID `json:"artefact"`
	Name      string             `json:"name"`
	Bytes     int64              `json:"bytes"`      // compressed
	DumpBytes int64              `json:"dump_bytes"` // of the SQL
	SHA256    string             `json:"sha256"`
	DurationS float64            `json:"duration_s"`
}

func (f *Family) backupAction() action.Action {
	return action.Action{
		Name:  "backup_db",
		Title: hostler.Text{EN: "Database backup", ZH: "数据库备份"},
		Help: hostler.Text{
			EN: "Dumps a PostgreSQL, MySQL or MariaDB database with the tools of the asset, over SSH, and stores the dump, " +
				"compressed and verified to be complete, as an artefact.",
			ZH: "通过 SSH 用资产上的工具导出 PostgreSQL、MySQL 或 MariaDB 数据库，压缩并校验完整后保存为产物。",
		},
		Schema: backupSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:  checkBackup, Credentials: backupCredentials, Run: f.runBackup,
	}
}

func checkBackup(raw json.RawMessage) []hostler.FieldError {
	var a backupArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	return checkArtefactName(a.Name)
}

func backupCredentials(raw json.RawMessage) []action.CredentialUse {
	uses := sudoCredential(raw)
	var a backupArgs
	if json.Unmarshal(raw, &a) == nil && a.Credential != "" {
		uses = append(uses, action.CredentialUse{Name: a.Credential, Use: hostler.UseScript})
	}
	return uses
}

// The scripts get the database, host, port and user; the password is in the environment.
const (
	dumpPostgres = `export PGCONNECT_TIMEOUT=20
[ -z "$2" ] || export PGHOST="$2"
[ -z "$3" ] || export PGPORT="$3"
[ -z "$4" ] || export PGUSER="$4"
exec pg_dump --no-password -- "$1"
`
	dumpMySQL = `tool=$(command -v mariadb-dump || command -v mysqldump) ||
	{ echo "neither mariadb-dump nor mysqldump is installed" >&2; exit 127; }
db=$1 host=$2 port=$3 user=$4
set -- --single-transaction --quick --routines --triggers
[ -z "$host" ] || set -- "$@" --host="$host"
[ -z "$port" ] || set -- "$@" --port="$port" --protocol=tcp
[ -z "$user" ] || set -- "$@" --user="$user"
exec "$tool" "$@" -- "$db"
`
)

// ends are what complete dumps end with.
var ends = map[string][]string{
	"postgres": {"-- PostgreSQL database dump complete"}, "mysql": {"-- Dump completed"},
}

func (f *Family) runBackup(ctx context.Context, c *action.Call) action.Result {
	var args backupArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	p, err := h.dumpProgram(args)
	if err != nil {
		return action.ResultOf(err)
	}
	began := time.Now()
	d := &dump{ends: ends[args.Engine]}
	a, err := h.storeConverted(ctx, cmp.Or(args.Name, args.Database+".sql.gz"), "application/gzip", p, func(r io.Reader) io.ReadCloser {
		return d.compress(&volume{Reader: r, call: c})
	})
	if err != nil {
		return action.ResultOf(err)
	}
	return action.Succeeded(BackedUp{
		Artefact: a.ID, Name: a.Name, Bytes: a.Size, DumpBytes: d.size, SHA256: a.SHA256,
		DurationS: float64(time.Since(began).Milliseconds()) / 1000,
	})
}

func (h *host) dumpProgram(args backupArgs) (program, error) {
	port := ""
	if args.Port != 0 {
		port = fmt.Sprint(args.Port)
	}
	text, variable := dumpPostgres, "PGPASSWORD"
	if args.Engine == "mysql" {
		text, variable = dumpMySQL, "MYSQL_PWD"
	}
	p := program{
		script: &script{text: text, interpreter: "/bin/sh", args: []string{args.Database, args.Host, port, args.User}},
		env:    map[string]string{"LC_ALL": "C"},
	}
	if args.Credential != "" {
		cred, ok := h.call.Credentials[args.Credential]
		if !ok || cred.Kind != hostler.CredentialPassword {
			return p, action.NewFault(hostler.ErrKindCredential, "the credential %q does not exist or is not a password",
				"凭据 %q 不存在或不是密码类型", args.Credential).Final()
		}
		h.Hide(cred.Secret.Password)
		p.env[variable] = cred.Secret.Password
	}
	var err error
	p.runAs, p.password, err = h.sudo(args.RunAs, args.SudoCredential)
	return p, err
}

// dump compresses a dump, and checks its end.
type dump struct {
	ends []string
	size int64
	last []byte
}

// dumpEnd is how much of the end of a dump is looked at.
const dumpEnd = 4 << 10

// compress returns the compressed dump, to be read to its end or closed. Reading it fails if
// the dump is not complete.
func (d *dump) compress(r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		gz := gzip.NewWriter(pw)
		_, err := io.Copy(io.MultiWriter(gz, d), r)
		if err == nil && !d.complete() {
			err = action.NewFault(KindFile, "the dump is not complete: its last line is missing", "导出不完整：缺少结尾行")
		}
		if err == nil {
			err = gz.Close()
		}
		pw.CloseWithError(err)
	}()
	return pr
}

// Write implements io.Writer: it takes the end of the dump.
func (d *dump) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	d.last = append(d.last, p[max(len(p)-dumpEnd, 0):]...)
	d.last = append(d.last[:0], d.last[max(len(d.last)-dumpEnd, 0):]...)
	return len(p), nil
}

func (d *dump) complete() bool {
	for _, end := range d.ends {
		if bytes.Contains(d.last, []byte("\n"+end)) {
			return true
		}
	}
	return false
}

// Package sql has the actions that run statements on databases.
//
// # Model
//
// A job has one connection, and runs one statement in one transaction. The session of the
// database enforces read-only, not a look at the text: the transaction is begun as read-only,
// a first query fixes that, and the protocol takes one statement, so that no other can follow.
// The rows are streamed into an artefact. With each, the rows of the first statement are read
// whole, and a statement runs for each of them in a transaction of its own.
//
// # Invariants
//
//   - ReadOnly: without write and each, the database refuses every change of its data. Functions
//     that reach beyond it, and files that MySQL writes (INTO OUTFILE), need rights that the
//     user of such a job should not have.
//   - ValuesAreParameters: values reach a statement as parameters; its text takes none.
//   - EgressChecked: the connection goes to an address that the egress policy allows.
//   - UnknownWhenSent: a change whose commit was sent without an answer ends as unknown.
package sql

import (
	"cmp"
	"context"
	"crypto/x509"
	"database/sql"
	_ "embed" // the schemas
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5/stdlib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/risk"
)

//go:embed sql_query.json
var querySchema []byte

//go:embed export.json
var exportSchema []byte

const (
	defaultRows = 100_000
	// shownRows and shownBytes limit the rows in the result.
	shownRows  = 100
	shownBytes = 64 << 10
	// maxEach limits the rows that are read whole for each, and eachBytes their size.
	maxEach   = 100_000
	eachBytes = 64 << 20
	// shownErrors is how many errors of single rows are in the result.
	shownErrors = 20
	// maxSheetRows is how many rows a sheet of XLSX has, besides the names of the columns.
	maxSheetRows = 1<<20 - 1
)

// KindSQL is the kind of error of a statement that the database refused.
const KindSQL = "sql"

// Actions lists the actions of the family. The ranges may be reached although internal/egress
// denies them.
func Actions(allow ...netip.Prefix) []action.Action {
	f := &family{policy: egress.New(allow...)}
	query := action.Action{
		Name:  "sql_query",
		Title: hostler.Text{EN: "SQL query", ZH: "SQL 查询"},
		Help: hostler.Text{
			EN: "Runs a statement on PostgreSQL, MySQL or MariaDB from the worker. It is read-only, which the database enforces, " +
				"unless write is given. With each, a further statement runs for each row, committed or rolled back one by one.",
			ZH: "从工作节点在 PostgreSQL、MySQL 或 MariaDB 上执行语句。除非指定 write，否则由数据库保证只读。" +
				"指定 each 时对每一行再执行一条语句，逐条提交或回滚。",
		},
		Schema: querySchema, Asset: action.AssetOptional, Enabled: true,
		Traits: traits, Check: checkArgs, Credentials: credentials, Commands: commands, Run: f.run,
		Elsewhere: func(json.RawMessage) bool { return true },
	}
	export := query
	export.Name = "export"
	export.Title = hostler.Text{EN: "Export", ZH: "导出"}
	export.Help = hostler.Text{
		EN: "Writes the rows of a read-only query to an artefact, as CSV, JSON lines or XLSX, which later steps can mail or copy.",
		ZH: "将只读查询的结果写入产物（CSV、JSON 行或 XLSX），供后续步骤发送或复制。",
	}
	export.Schema = exportSchema
	return []action.Action{query, export}
}

type family struct{ policy *egress.Policy }

type args struct {
	Server     string `json:"server"`
	Credential string `json:"credential"`
	TLS        string `json:"tls"`
	CA         string `json:"ca"`
	Statement  string `json:"statement"`
	Params     []any  `json:"params"`
	Write      bool   `json:"write"`
	Each       string `json:"each"`
	Limit      int    `json:"limit"`
	Name       string `json:"name"`
	Format     string `json:"format"`
}

// Result is the result of sql_query and export.
type Result struct {
	Columns []string           `json:"columns,omitempty"`
	Rows    [][]any            `json:"rows,omitempty"` // the first 100
	Count   int64              `json:"count"`          // of rows, or of rows that a change affected
	Bytes   int64              `json:"bytes,omitempty"`
	SHA256  string             `json:"sha256,omitempty"`
	Done    int                `json:"done,omitempty"`   // of each: committed
	Failed  int                `json:"failed,omitempty"` // of each: rolled back
	Errors  []RowError         `json:"errors,omitempty"`
	File    hostler.ArtefactID `json:"artefact,omitzero"`
}

// RowError is why the statement failed for a row.
type RowError struct {
	Row   int    `json:"row"` // from 1
	Error string `json:"error"`
}

// parse reads args; numbers of params stay as they were written.
func parse(raw json.RawMessage) (a args, u *url.URL, faults []hostler.FieldError) {
	if faults = action.Decode(raw, &a); faults != nil {
		return a, nil, faults
	}
	for i, p := range a.Params {
		if n, ok := p.(float64); ok && n == float64(int64(n)) {
			a.Params[i] = int64(n)
		}
	}
	u, err := url.Parse(a.Server)
	var f check.Fields
	f.Require(err == nil && u.Hostname() != "", "server", "must be like postgres://db.example.com:5432/app",
		"必须形如 postgres://db.example.com:5432/app")
	if err == nil && u.Port() != "" { // of what is opened, as of the origin that is checked
		port, err := strconv.Atoi(u.Port())
		f.Require(err == nil && port > 0 && port < 1<<16, "server", "must have a port from 1 to 65535", "端口须为 1 到 65535")
	}
	f.Require(a.CA == "" || x509.NewCertPool().AppendCertsFromPEM([]byte(a.CA)), "ca", "must contain a certificate in PEM form",
		"必须包含 PEM 格式的证书")
	f.Require(a.Each == "" || a.Limit <= maxEach, "limit", "must be at most %d with each", "与 each 同用时不能超过 %d", maxEach)
	f.Require(a.Format != "xlsx" || a.Limit <= maxSheetRows, "limit", "must be at most %d for xlsx", "xlsx 最多 %d 行", maxSheetRows)
	f.Require(a.Each == "" || !a.Write && a.Name == "", "each", "cannot be combined with write or name", "不能与 write 或 name 同时使用")
	if a.Name != "" {
		if e, ok := errors.AsType[*hostler.Error](hostler.CheckFileName("name", a.Name)); ok {
			return a, u, append(f.Faults(), e.Fields...)
		}
	}
	return a, u, f.Faults()
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	_, _, faults := parse(raw)
	return faults
}

func traits(raw json.RawMessage) action.Traits {
	var a args
	changes := json.Unmarshal(raw, &a) != nil || a.Write || a.Each != ""
	return action.Traits{Idempotent: !changes, Changes: changes}
}

func credentials(raw json.RawMessage) []action.CredentialUse {
	var a args
	if json.Unmarshal(raw, &a) != nil || a.Credential == "" {
		return nil
	}
	use := action.CredentialUse{Name: a.Credential, Use: hostler.UseHTTP}
	if u, err := url.Parse(a.Server); err == nil {
		use.Origin = destination.Origin(u)
	}
	return []action.CredentialUse{use}
}

// commands is what changes data, as commands of the database's own client.
func commands(raw json.RawMessage) []risk.Command {
	var a args
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	client := []string{"psql", "-c"}
	if u, err := url.Parse(a.Server); err == nil && u.Scheme == "mysql" {
		client = []string{"mysql", "-e"}
	}
	var out []risk.Command
	for path, text := range map[string]string{"statement": a.Statement, "each": a.Each} {
		if text != "" && (a.Write || path == "each") {
			out = append(out, risk.Command{Path: path, Kind: risk.Argv, Argv: append(client[:2:2], text)})
		}
	}
	return out
}

func (f *family) run(ctx context.Context, c *action.Call) action.Result {
	a, u, faults := parse(c.Args)
	if len(faults) > 0 {
		return action.NewFault(hostler.ErrKindBadArgs, "args.%[1]s: %[2]s", "args.%[1]s：%[3]s",
			faults[0].Path, faults[0].Text.EN, faults[0].Text.ZH).Final().Result()
	}
	a.Limit = cmp.Or(a.Limit, defaultRows)
	cred, ok := c.Credentials[a.Credential]
	if !ok || cred.Kind != hostler.CredentialPassword || cred.Username == "" {
		return action.NewFault(hostler.ErrKindCredential, "the credential %q is missing, or is not a user and password",
			"凭据 %q 不存在，或不是用户名密码", a.Credential).Final().Result()
	}
	s := &session{args: a, call: c, budget: &budget{}, mysql: u.Scheme == "mysql"}
	db, err := open(u, a, cred, f.policy, s.budget)
	if err != nil {
		return action.ResultOf(err)
	}
	defer func() { _ = db.Close() }()
	if s.conn, err = db.Conn(ctx); err != nil {
		return fault(ctx, err, false).Result()
	}
	defer func() { _ = s.conn.Close() }()
	err = s.work(ctx)
	if err != nil {
		res := action.ResultOf(err)
		res.Value = s.out
		return res
	}
	if s.out.Failed > 0 {
		return action.Failed(s.out, KindSQL, "the statement failed for %d of %d rows", "%d 行执行失败（共 %d 行）", s.out.Failed, s.out.Failed+s.out.Done)
	}
	return action.Succeeded(s.out)
}

// session is the connection of one job.
type session struct {
	args   args
	call   *action.Call
	conn   *sql.Conn
	budget *budget
	mysql  bool
	out    Result
}

func (s *session) work(ctx context.Context) error {
	if s.args.Write {
		return s.write(ctx)
	}
	if err := s.checkQuery(ctx); err != nil {
		return err
	}
	if err := s.setMode(ctx, "READ ONLY"); err != nil {
		return err
	}
	tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fault(ctx, err, false)
	}
	defer func() { _ = tx.Rollback() }()
	// After the first query a transaction cannot become a writing one.
	if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
		return fault(ctx, err, false)
	}
	rows, err := tx.QueryContext(ctx, s.args.Statement, s.args.Params...)
	if err != nil {
		return fault(ctx, err, false)
	}
	defer func() { _ = rows.Close() }()
	switch {
	case s.args.Each != "":
		all, err := s.take(ctx, rows)
		if err != nil {
			return err
		}
		if err := errors.Join(rows.Close(), tx.Rollback()); errors.Is(err, errTooMuch) {
			return action.NewFault(KindSQL, "the query has many more rows than limit (%d); give the statement a LIMIT",
				"查询结果远超 limit（%d）；请在语句中加 LIMIT", s.args.Limit).Final()
		} else if err != nil {
			return fault(ctx, err, false)
		}
		if err := s.setMode(ctx, "READ WRITE"); err != nil {
			return err
		}
		return s.each(ctx, all)
	case s.args.Name != "":
		return s.export(ctx, rows)
	}
	return s.show(ctx, rows)
}

// checkQuery refuses what returns no rows, as PostgreSQL describes it before it runs: COPY
// writes files and starts programs in a read-only transaction too.
func (s *session) checkQuery(ctx context.Context) error {
	if s.mysql {
		return nil
	}
	columns := 0
	err := s.conn.Raw(func(c any) error {
		d, err := c.(*stdlib.Conn).Conn().Prepare(ctx, "", s.args.Statement)
		if err == nil {
			columns = len(d.Fields)
		}
		return err
	})
	if err != nil {
		return fault(ctx, err, false)
	}
	if columns == 0 {
		return action.NewFault(KindSQL, "the statement is no query: it returns no rows", "语句不是查询：不返回任何行").
			WithRemedy("give write: true if a change is meant", "如确需修改，请指定 write: true").Final()
	}
	return nil
}

// setMode sets the mode of later transactions: a procedure of MySQL can commit that of its
// caller, and what follows is in a new one. PostgreSQL refuses such a procedure.
func (s *session) setMode(ctx context.Context, mode string) error {
	if !s.mysql {
		return nil
	}
	if _, err := s.conn.ExecContext(ctx, "SET SESSION TRANSACTION "+mode); err != nil {
		return fault(ctx, err, false)
	}
	return nil
}

// write runs a statement that may change data, and commits it.
func (s *session) write(ctx context.Context) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return fault(ctx, err, false)
	}
	defer func() { _ = tx.Rollback() }()
	res, err := tx.ExecContext(ctx, s.args.Statement, s.args.Params...)
	if err != nil {
		// Some statements commit by themselves, such as those of MySQL that define tables.
		return fault(ctx, err, true)
	}
	s.out.Count, _ = res.RowsAffected() // 0 where the database does not tell
	if err := tx.Commit(); err != nil {
		return fault(ctx, err, true)
	}
	return nil
}

// each runs the statement for each row, in a transaction of its own.
func (s *session) each(ctx context.Context, rows [][]any) error {
	for i, row := range rows {
		err := s.one(ctx, row)
		var f *action.Fault
		if err != nil && errors.As(err, &f) && (f.Kind != KindSQL || ctx.Err() != nil) {
			return err // the connection is lost, or the job was stopped
		}
		if err != nil {
			s.out.Failed++
			if len(s.out.Errors) < shownErrors {
				s.out.Errors = append(s.out.Errors, RowError{i + 1, f.Text.EN})
			}
		} else {
			s.out.Done++
		}
		s.call.Progress(hostler.Progress{Percent: float64(i+1) * 100 / float64(len(rows))})
	}
	return nil
}

func (s *session) one(ctx context.Context, row []any) error {
	s.budget.refill()
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return fault(ctx, err, false)
	}
	res, err := tx.ExecContext(ctx, s.args.Each, row...)
	if err != nil {
		_ = tx.Rollback()
		return fault(ctx, err, true)
	}
	if err := tx.Commit(); err != nil {
		return fault(ctx, err, true)
	}
	n, _ := res.RowsAffected()
	s.out.Count += n
	return nil
}

// take reads the rows for each.
func (s *session) take(ctx context.Context, rows *sql.Rows) (all [][]any, err error) {
	size := 0
	err = s.eachRow(ctx, rows, func(_ []*sql.ColumnType, row []any) (bool, error) {
		for _, v := range row {
			size += sizeOf(v)
		}
		if size > eachBytes {
			return false, action.NewFault(KindSQL, "the rows for each have more than %d MiB together", "逐行执行的数据合计超过 %d MiB", eachBytes>>20).Final()
		}
		all = append(all, row)
		return len(all) < s.args.Limit, nil
	})
	return all, err
}

// show puts the first rows into the result.
func (s *session) show(ctx context.Context, rows *sql.Rows) error {
	size := 0
	return s.eachRow(ctx, rows, func(_ []*sql.ColumnType, row []any) (bool, error) {
		if s.out.Count++; s.out.Count > int64(s.args.Limit) {
			return false, s.tooMany()
		}
		for i := range row {
			row[i] = plain(row[i])
			size += sizeOf(row[i])
		}
		if len(s.out.Rows) < shownRows && size <= shownBytes {
			s.out.Rows = append(s.out.Rows, row)
		}
		return true, nil
	})
}

func (s *session) tooMany() error {
	return action.NewFault(KindSQL, "the query has more than %d rows; narrow it, or raise limit", "查询结果超过 %d 行；请缩小范围或调高 limit", s.args.Limit).Final()
}

// export streams the rows into an artefact.
func (s *session) export(ctx context.Context, rows *sql.Rows) error {
	format := formats[cmp.Or(s.args.Format, "csv")]
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(s.encode(ctx, rows, format.writer(pw)))
	}()
	art, err := s.call.StoreArtefact(ctx, s.args.Name, format.mediaType, pr)
	_ = pr.Close()
	<-done
	if err != nil {
		return err
	}
	s.out.File, s.out.Bytes, s.out.SHA256 = art.ID, art.Size, art.SHA256
	return nil
}

func (s *session) encode(ctx context.Context, rows *sql.Rows, w rowWriter) error {
	columns, err := rows.Columns()
	if err != nil {
		return fault(ctx, err, false)
	}
	if err := w.header(columns); err != nil {
		return err
	}
	err = s.eachRow(ctx, rows, func(_ []*sql.ColumnType, row []any) (bool, error) {
		if s.out.Count++; s.out.Count > int64(s.args.Limit) {
			return false, s.tooMany()
		}
		for i := range row {
			row[i] = plain(row[i])
		}
		return true, w.row(row)
	})
	if err != nil {
		return err
	}
	return w.close()
}

// eachRow calls fn for each row until it returns false.
func (s *session) eachRow(ctx context.Context, rows *sql.Rows, fn func(types []*sql.ColumnType, row []any) (bool, error)) error {
	types, err := rows.ColumnTypes()
	if err != nil {
		return fault(ctx, err, false)
	}
	if s.out.Columns, err = rows.Columns(); err != nil {
		return fault(ctx, err, false)
	}
	for more := true; more && rows.Next(); {
		s.budget.refill()
		row := make([]any, len(types))
		into := make([]any, len(types))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return fault(ctx, err, false)
		}
		if more, err = fn(types, row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fault(ctx, err, false)
	}
	return nil
}

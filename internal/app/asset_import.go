package app

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/assetfile"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// The values of hostler.ImportOptions.OnConflict, for a row whose asset exists.
const (
	conflictUpdate = "update"
	conflictSkip   = "skip"
	conflictFail   = "fail"
)

// errRollback rolls back an import with a row that fails now and did not in the plan.
var errRollback = errors.New("import rolled back")

// ImportAssets creates and updates assets from a CSV file: all of it, or, when a row
// fails, nothing. It first plans the import on a snapshot, which takes no lock and keeps
// no writer waiting: all of a dry run, and of a file with a fault. A column that the file
// lacks leaves its field as it is; an empty cell clears the field. See
// [assetfile.Read] for the form of the file.
func (a *App) ImportAssets(
	ctx context.Context, c auth.Caller, file string, o hostler.ImportOptions,
) (hostler.AssetImport, error) {
	g, err := a.allow(c, auth.WriteAsset)
	if err != nil {
		return hostler.AssetImport{}, err
	}
	o.OnConflict = cmp.Or(o.OnConflict, conflictUpdate)
	var fields check.Fields
	check.OneOf(&fields, "on_conflict", o.OnConflict, conflictUpdate, conflictSkip, conflictFail)
	if err := fields.Err(); err != nil {
		return hostler.AssetImport{}, err
	}
	rows, err := assetfile.Read(file, o)
	if err != nil {
		return hostler.AssetImport{}, err
	}
	done, err := a.imports.begin(ctx, g.project)
	if err != nil {
		return hostler.AssetImport{}, err
	}
	defer done()
	out, err := list(ctx, g, func(s *scope) (hostler.AssetImport, error) {
		s.planning = true
		im := newAssetImport(s, o, rows)
		err := im.run()
		return im.summary(), err
	})
	if err != nil || !out.Applied {
		return out, err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		im := newAssetImport(s, o, rows)
		err := im.run()
		out = im.summary()
		if err == nil && !out.Applied {
			err = errRollback
		}
		return struct{}{}, err
	})
	if errors.Is(err, errRollback) {
		err = nil
	}
	return out, err
}

// importWait is how long an import waits for those of its project before it.
const importWait = 30 * time.Second

// importTurns lets each project run one import at a time: they would wait for each other's
// locks, and those of a large file last for seconds.
type importTurns struct {
	mu       sync.Mutex
	projects map[hostler.ProjectID]*importTurn
	wait     time.Duration // 0: importWait
}

type importTurn struct {
	token chan struct{} // has one while none runs
	users int           // that run or wait
}

// begin waits for the project's turn. The caller calls done at the end.
func (it *importTurns) begin(ctx context.Context, p hostler.ProjectID) (done func(), err error) {
	it.mu.Lock()
	t := it.projects[p]
	if t == nil {
		t = &importTurn{token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		if it.projects == nil {
			it.projects = map[hostler.ProjectID]*importTurn{}
		}
		it.projects[p] = t
	}
	t.users++
	it.mu.Unlock()
	leave := func() {
		it.mu.Lock()
		defer it.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(it.projects, p)
		}
	}
	timer := time.NewTimer(cmp.Or(it.wait, importWait))
	defer timer.Stop()
	select {
	case <-t.token:
		return func() { t.token <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		_, err = outcome(struct{}{}, ctx.Err())
	case <-timer.C:
		err = errImportWaits()
	}
	leave()
	return nil, err
}

func errImportWaits() error {
	e := hostler.Errorf(hostler.CodeUnavailable,
		"other imports into this project are still running; nothing was imported: try again",
		"此项目的其他导入仍在进行；没有导入任何内容：请重试")
	e.RetryAfter = 10
	return e
}

// assetImport is one import, inside its transaction.
type assetImport struct {
	*scope
	opts    hostler.ImportOptions
	rows    []assetfile.Row
	results []hostler.ImportedRow      // by row; Result is "" until the row is imported
	byName  map[string]int             // the first row of each name
	old     map[string]*store.AssetRow // the assets before the import, by name
	created []store.AssetRow           // not inserted yet; flush inserts them together
	updated []store.AssetRow           // likewise
	moved   []*store.AssetRow          // as they were before they moved
	uses    []store.UseRow             // of credentials, that flush allows
}

func newAssetImport(s *scope, o hostler.ImportOptions, rows []assetfile.Row) *assetImport {
	return &assetImport{
		scope: s, opts: o, rows: rows,
		results: make([]hostler.ImportedRow, len(rows)),
		byName:  make(map[string]int, len(rows)),
		old:     map[string]*store.AssetRow{},
	}
}

func (im *assetImport) run() error {
	if !im.planning {
		if err := im.LockAssetNames(im.project); err != nil {
			return err
		}
	}
	if err := im.readOld(im.indexNames()); err != nil {
		return err
	}
	if err := im.readKeys(); err != nil {
		return err
	}
	for i := range im.rows {
		if err := im.importRow(i, 0); err != nil {
			return err
		}
	}
	if err := im.flush(); err != nil {
		return err
	}
	if im.planning {
		return nil
	}
	n := im.summary()
	if n.Created+n.Updated == 0 {
		im.unchanged()
		return nil
	}
	return im.audit("asset.import", strconv.Itoa(n.Created+n.Updated),
		map[string]any{"created": n.Created, "updated": n.Updated, "rows": len(im.rows)})
}

// indexNames fills byName, fails the rows that repeat a name, and returns the names.
func (im *assetImport) indexNames() []string {
	names := make([]string, 0, len(im.rows))
	for i, row := range im.rows {
		name := row.Name()
		im.results[i] = hostler.ImportedRow{Line: row.Line, Name: name}
		if first, seen := im.byName[name]; seen {
			im.fail(i, hostler.Invalid("name", "duplicate name, first on line %d",
				"名称重复，首次出现在第 %d 行",
				im.rows[first].Line))
			continue
		}
		im.byName[name] = i
		if check.Storable(name) {
			names = append(names, name)
		}
	}
	return names
}

// readOld reads the assets that have the names.
func (im *assetImport) readOld(names []string) error {
	if len(names) == 0 {
		return nil
	}
	targets, err := im.Targets(im.project, store.Selection{Names: names})
	if err != nil {
		return err
	}
	ids := make([]hostler.AssetID, len(targets))
	for i, t := range targets {
		ids[i] = t.ID
	}
	rows, err := im.AssetsByID(ids)
	for _, row := range rows {
		im.old[row.Name] = row
	}
	return err
}

// readKeys reads for the device keys of all rows at once whether another project has them.
func (im *assetImport) readKeys() error {
	if im.may(auth.ShareDevice) {
		return nil
	}
	var keys []string
	for i := range im.rows {
		var was *hostler.Asset
		old := im.old[im.rows[i].Name()]
		if old != nil {
			was = &old.Asset
		}
		in, err := im.rows[i].Input(was)
		if err != nil {
			continue // importRow reports it
		}
		asset, err := assetRow(in)
		if err != nil {
			continue
		}
		if old != nil {
			followAddress(&asset, old)
		}
		keys = append(keys, asset.DeviceKey)
	}
	return im.readDevices(keys)
}

// fail records why a row fails.
func (im *assetImport) fail(i int, e *hostler.Error) {
	im.results[i].Result = hostler.ImportFail
	im.results[i].Errors = append(im.results[i].Errors, e.Fields...)
}

// importRow imports one row, after the row that it names as its jump host, which may
// be new as well. The depth ends cycles of jump hosts; bind then reports them.
func (im *assetImport) importRow(i, depth int) error {
	if im.results[i].Result != "" {
		return nil
	}
	row := im.rows[i]
	if jump, ok := im.byName[row.Jump()]; ok && jump != i && depth <= hostler.MaxJumps {
		if err := im.importRow(jump, depth+1); err != nil || im.results[i].Result != "" {
			return err
		}
		if err := im.flush(); err != nil { // bind looks the jump host up in the database
			return err
		}
	}
	err := im.apply(i)
	if e, ok := errors.AsType[*hostler.Error](err); ok && len(e.Fields) > 0 {
		im.fail(i, e)
		return nil
	}
	return err
}

// apply creates or updates the asset of a row. An error with fields is a fault of
// the row.
func (im *assetImport) apply(i int) error {
	row := im.rows[i]
	if err := row.CheckLength(); err != nil {
		return err
	}
	old := im.old[row.Name()]
	switch {
	case old != nil && im.opts.OnConflict == conflictSkip:
		im.results[i].Result = hostler.ImportSkip
		return nil
	case old != nil && im.opts.OnConflict == conflictFail:
		return hostler.Invalid("name", "already exists", "已存在")
	case old == nil:
		return im.create(i)
	default:
		return im.update(i, old)
	}
}

// create adds the asset of a row to those that flush inserts.
func (im *assetImport) create(i int) error {
	in, err := im.rows[i].Input(nil)
	if err != nil {
		return err
	}
	asset, err := assetRow(in)
	if err != nil {
		return err
	}
	if err := im.bind(&asset, in); err != nil {
		return err
	}
	use, err := im.checkPlace(&asset, nil, true)
	if err != nil {
		return err
	}
	if use != nil {
		im.uses = append(im.uses, *use)
	}
	im.results[i].Result = hostler.ImportCreate
	im.created = append(im.created, asset)
	return nil
}

// flush writes the new and the changed assets, each with few statements, and allows the
// uses of their credentials. A plan only makes them known to the rows that follow.
func (im *assetImport) flush() error {
	created, updated, moved, uses := im.created, im.updated, im.moved, im.uses
	im.created, im.updated, im.moved, im.uses = nil, nil, nil, nil
	if im.planning {
		for _, a := range append(created, updated...) {
			im.PlanAsset(a)
		}
		return nil
	}
	if err := im.InsertAssets(im.project, created); err != nil {
		return err
	}
	if err := im.UpdateAssets(im.project, updated); err != nil {
		return err
	}
	for _, old := range moved {
		if err := im.left(old); err != nil {
			return err
		}
	}
	return im.AllowUses(uses)
}

// update changes the asset of a row, if the row differs from it.
func (im *assetImport) update(i int, old *store.AssetRow) error {
	in, err := im.rows[i].Input(&old.Asset)
	if err != nil {
		return err
	}
	asset, err := assetRow(in)
	if err != nil {
		return err
	}
	asset.ID = old.ID
	followAddress(&asset, old)
	after := asset.Asset
	after.Credential, after.Jump = in.Credential, in.Jump
	changes, err := assetfile.Changes(old.Asset, after)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		im.results[i].Result = hostler.ImportUnchanged
		return nil
	}
	if err := im.bind(&asset, in); err != nil {
		return err
	}
	use, err := im.checkPlace(&asset, old, im.rows[i].Names("credential"))
	if err != nil {
		return err
	}
	im.results[i].Result, im.results[i].Changes = hostler.ImportUpdate, changes
	im.updated = append(im.updated, asset)
	if !samePlace(&asset, old) {
		im.moved = append(im.moved, old)
	}
	if use != nil {
		im.uses = append(im.uses, *use)
	}
	return nil
}

// summary counts the rows by result.
func (im *assetImport) summary() hostler.AssetImport {
	n := map[string]int{}
	for _, r := range im.results {
		n[r.Result]++
	}
	return hostler.AssetImport{
		DryRun: im.opts.DryRun, Applied: !im.opts.DryRun && n[hostler.ImportFail] == 0,
		Created: n[hostler.ImportCreate], Updated: n[hostler.ImportUpdate], Unchanged: n[hostler.ImportUnchanged],
		Skipped: n[hostler.ImportSkip], Failed: n[hostler.ImportFail], Rows: im.results,
	}
}

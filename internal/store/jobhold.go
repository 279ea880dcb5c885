package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the jobs of a project, of an asset, or of the assets with some labels
// (for the whole installation, see hold.go). A claim that finds such a job does not lease
// it; [Tx.HoldJobs] delays it to a time that no clock reaches, which is the hold's own, and
// takes it out of its lane. So what waits for a hold costs nothing, however much it is, and
// is one range of sched that [Tx.FollowHolds] queues in steps when the hold ends.
//
// Holds are created and ended under queueLock, held exclusively: no claim and no HoldJobs
// decides by a hold that has changed.

// heldFrom is the time of jobs that wait for holds: that of a hold is its id later.
const heldFrom = int64(1) << 60

// maxHolds is how many holds a project may have.
const maxHolds = 100

// holdStep is how many jobs of an ended hold one transaction queues.
const holdStep = 500

// HoldRow is a row of dispatch_hold.
type HoldRow struct {
	ID        hostler.HoldID    `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Selector  string            `db:"selector"`
	Asset     hostler.AssetID   `db:"asset"`
	AssetName string            `db:"asset_name"`
	Labels    string            `db:"labels"` // JSON: an object, or the text of a selector
	Mode      hostler.HoldMode  `db:"mode"`
	Reason    string            `db:"reason"`
	CreatedBy string            `db:"created_by"`
	CreatedAt time.Time         `db:"created_at"`
	Until     time.Time         `db:"until"`
	Ended     bool              `db:"ended"`
}

// runAt is the time of the jobs that wait for the hold.
func (h *HoldRow) runAt() int64 { return heldFrom + int64(h.ID) }

// Object names what the hold is about.
func (h *HoldRow) Object() string {
	switch {
	case h.Asset != 0:
		return h.AssetName
	case h.Labels != "":
		return h.Labels
	}
	return "project"
}

// PutHold creates a hold, or replaces the one of the same selector.
func (tx *Tx) PutHold(h HoldRow) (*HoldRow, error) {
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return nil, err
	}
	var n int
	_, err := tx.one(`SELECT count(*) FROM dispatch_hold WHERE project = ? AND selector <> ?`,
		[]any{h.Project, h.Selector}, &n)
	if err != nil {
		return nil, err
	}
	if n >= maxHolds {
		return nil, hostler.Errorf(hostler.CodeConflict, "the project has %d holds, the most it may have; end some",
			"本项目已有 %d 个暂停，达到上限；请先结束一些", n)
	}
	ids, err := tx.c.NewIDs(tx.ctx, 1)
	if err != nil {
		return nil, err
	}
	h.ID, h.CreatedAt, h.Ended = hostler.HoldID(ids[0]), tx.now, false
	cols := columnList("", sqldb.Columns[HoldRow]())
	_, err = execRows(tx, `INSERT INTO dispatch_hold (`+cols+`) SELECT `+columnList("v.", sqldb.Columns[HoldRow]())+`
FROM @rows WHERE true ON CONFLICT (project, selector) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,
created_by = excluded.created_by, created_at = excluded.created_at, until = excluded.until, ended = 0`, []HoldRow{h})
	if err != nil {
		return nil, err
	}
	return queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE project = ? AND selector = ?`, h.Project, h.Selector)
}

// EndHold ends a hold; [Tx.FollowHolds] queues its jobs.
func (tx *Tx) EndHold(id hostler.HoldID) error {
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE dispatch_hold SET ended = 1 WHERE id = ?`, id)
	tx.notifyWork(true)
	return err
}

// Holds lists the holds of a project, with how many jobs wait for each, to countCap.
func (tx *Tx) Holds(project hostler.ProjectID) ([]HoldRow, []int, error) {
	rows, err := query[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE project = ? ORDER BY id`, project)
	waiting := make([]int, len(rows))
	for i := range rows {
		_, err := tx.one(`SELECT count(*) FROM (SELECT 1 FROM sched WHERE run_at = ? LIMIT ?) x`,
			[]any{rows[i].runAt(), countCap}, &waiting[i])
		if err != nil {
			return nil, nil, err
		}
	}
	return rows, waiting, err
}

// HoldByID returns a hold of a project; nil if there is none.
func (tx *Tx) HoldByID(project hostler.ProjectID, id hostler.HoldID) (*HoldRow, error) {
	return queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE project = ? AND id = ?`, project, id)
}

// liveHolds returns the holds of projects that have not ended.
func (tx *Tx) liveHolds(projects []hostler.ProjectID) (map[hostler.ProjectID][]HoldRow, error) {
	rows, err := query[HoldRow](tx, `SELECT @cols FROM dispatch_hold
WHERE project IN ?* AND ended = 0 AND (until = 0 OR until > ?) ORDER BY id`, projects, sqldb.Micros(tx.now))
	out := map[hostler.ProjectID][]HoldRow{}
	for _, h := range rows {
		out[h.Project] = append(out[h.Project], h)
	}
	return out, err
}

// holdable is what decides whether a hold is about a job.
type holdable struct {
	Project hostler.ProjectID
	Asset   hostler.AssetID
	Address string // of an ad-hoc host
}

// hostOf is an asset that a job works on.
type hostOf struct {
	ID      hostler.AssetID   `db:"id"`
	Project hostler.ProjectID `db:"project"`
	Address string            `db:"address"`
	Labels  string            `db:"labels"`
}

// heldBy returns for each of some jobs the hold that is about it, nil for none. A job of an
// ad-hoc host is on every asset of its project with the same address.
func heldBy(tx *Tx, holds map[hostler.ProjectID][]HoldRow, jobs []holdable) ([]*HoldRow, error) {
	out := make([]*HoldRow, len(jobs))
	if len(holds) == 0 {
		return out, nil
	}
	var ids []hostler.AssetID
	var addresses []string
	for _, j := range jobs {
		if len(holds[j.Project]) > 0 && j.Asset != 0 {
			ids = append(ids, j.Asset)
		} else if len(holds[j.Project]) > 0 && j.Address != "" {
			addresses = append(addresses, j.Address)
		}
	}
	var hosts []hostOf
	if len(ids)+len(addresses) > 0 {
		var err error
		hosts, err = query[hostOf](tx, `SELECT @cols FROM asset
WHERE id IN ?* OR address IN ?* AND project IN ?*`, ids, addresses, slices.Collect(maps.Keys(holds)))
		if err != nil {
			return nil, err
		}
	}
	at := map[holdable][]hostOf{}
	for _, h := range hosts {
		for _, key := range []holdable{{h.Project, h.ID, ""}, {h.Project, 0, h.Address}} {
			at[key] = append(at[key], h)
		}
	}
	for i, j := range jobs {
		for k := range holds[j.Project] {
			h := &holds[j.Project][k]
			about, err := h.isAbout(at[j])
			if err != nil {
				return nil, err
			}
			if about {
				out[i] = h
				break
			}
		}
	}
	return out, nil
}

// isAbout reports whether the hold is about a job on some assets.
func (h *HoldRow) isAbout(hosts []hostOf) (bool, error) {
	if h.Asset == 0 && h.Labels == "" {
		return true, nil
	}
	want, err := selectorOf(h.Labels)
	if err != nil {
		return false, err
	}
	for _, a := range hosts {
		have, err := decodeMap(a.Labels)
		if err != nil {
			return false, err
		}
		if h.Asset == a.ID || h.Asset == 0 && want.Match(have) {
			return true, nil
		}
	}
	return false, nil
}

// selectorOf reads the labels of a hold: an object of labels, or the text of a selector.
func selectorOf(labels string) (selector.Selector, error) {
	if !strings.HasPrefix(labels, `"`) {
		have, err := decodeMap(labels)
		return selector.Of(have), err
	}
	var text string
	if err := json.Unmarshal([]byte(labels), &text); err != nil {
		return nil, fmt.Errorf("decode the selector of a hold: %w", err)
	}
	return selector.Parse(text)
}

// heldJobs returns those of the jobs that wait for a hold, with the hold.
func (tx *Tx) heldJobs(jobs []jobOrigin) (map[hostler.JobID]*HoldRow, error) {
	var projects []hostler.ProjectID
	var inline []hostler.JobID
	for i := range jobs {
		if !slices.Contains(projects, jobs[i].Project) {
			projects = append(projects, jobs[i].Project)
		}
		if jobs[i].Asset == inlineAsset {
			inline = append(inline, jobs[i].ID)
		}
	}
	holds, err := tx.liveHolds(projects)
	if err != nil || len(holds) == 0 {
		return nil, err
	}
	var targets map[hostler.JobID]SealedTarget
	if len(inline) > 0 {
		if targets, err = tx.JobTargets(inline); err != nil {
			return nil, err
		}
	}
	on := make([]holdable, len(jobs))
	for i := range jobs {
		on[i] = holdable{jobs[i].Project, assetID(jobs[i].Asset), targets[jobs[i].ID].Address}
	}
	found, err := heldBy(tx, holds, on)
	out := map[hostler.JobID]*HoldRow{}
	for i, h := range found {
		if h != nil {
			out[jobs[i].ID] = h
		}
	}
	return out, err
}

// hostsShown is how many hosts an error names.
const hostsShown = 10

// CheckHolds refuses new jobs that a hold refuses.
func (tx *Tx) CheckHolds(specs []hostler.JobSpec) error {
	holds, err := tx.liveHolds(projectsOf(specs))
	if err != nil || len(holds) == 0 {
		return err
	}
	on := make([]holdable, len(specs))
	for i := range specs {
		on[i] = holdable{Project: specs[i].Project, Asset: specs[i].Asset}
		if t := specs[i].Target; t != nil {
			on[i].Address = t.Address
		}
	}
	for p := range holds {
		holds[p] = slices.DeleteFunc(holds[p], func(h HoldRow) bool { return h.Mode != hostler.HoldRefuse })
	}
	found, err := heldBy(tx, holds, on)
	if err != nil {
		return err
	}
	var names []string
	var by *HoldRow
	for i, h := range found {
		if h == nil || specs[i].Accepted {
			continue
		}
		if by == nil {
			by = h
		}
		if name := specs[i].AssetName; name != "" && len(names) < hostsShown && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if by == nil {
		return nil
	}
	why := by.Text()
	var where hostler.Text
	if len(names) > 0 {
		where = hostler.Text{EN: " on " + strings.Join(names, ", "), ZH: "（" + strings.Join(names, "、") + "）"}
	}
	return &hostler.Error{Code: hostler.CodeConflict, Text: hostler.Text{
		EN: "new jobs" + where.EN + " are refused: " + why.EN, ZH: "新作业" + where.ZH + "被拒绝：" + why.ZH,
	}}
}

// Text explains a hold and says how to end it.
func (h *HoldRow) Text() hostler.Text {
	until := hostler.Textf("until it is ended", "直至人工结束")
	if !h.Until.IsZero() {
		until = hostler.Textf("until %s", "至 %s", h.Until.UTC().Format(time.RFC3339))
	}
	what := hostler.Textf("the dispatch of its project is held", "其项目的作业分派已暂停")
	end := "hostler dispatch release --of-project"
	if h.Selector != ProjectSelector {
		what = hostler.Textf("%s is in maintenance", "%s 正在维护", h.Object())
		end = "hostler maintenance end " + h.ID.String()
	}
	since := h.CreatedAt.UTC().Format(time.RFC3339)
	return hostler.Text{
		EN: fmt.Sprintf("%s since %s by %s %s: %s; end it with '%s'", what.EN, since, h.CreatedBy, until.EN, h.Reason, end),
		ZH: fmt.Sprintf("%s（%s 由 %s 设置，%s）：%s；执行 '%s' 可结束", what.ZH, since, h.CreatedBy, until.ZH, h.Reason, end),
	}
}

// ProjectSelector is the selector of the hold of a whole project.
const ProjectSelector = "project"

// serverUser is the user of rows of the audit that no person caused.
const serverUser = "local"

// FollowHolds takes one step for a hold that has ended, or whose time is over: it queues
// some of its jobs, and deletes it when there are no more. It reports whether there may be
// more to do.
func (tx *Tx) FollowHolds() (more bool, err error) {
	late, err := queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold
WHERE ended = 0 AND until <> 0 AND until <= ? ORDER BY id LIMIT 1`, sqldb.Micros(tx.now))
	if err != nil {
		return false, err
	}
	if late != nil {
		return true, tx.endLate(late.ID)
	}
	c, err := tx.changeQueue()
	if err != nil {
		return false, err
	}
	h, err := queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE ended = 1 ORDER BY id LIMIT 1 FOR UPDATE`)
	if err != nil || h == nil {
		return false, err
	}
	jobs, err := query[dueJob](tx, `SELECT @cols FROM sched WHERE run_at = ? ORDER BY id LIMIT ?`, h.runAt(), holdStep)
	if err != nil {
		return false, err
	}
	for i := range jobs {
		jobs[i].RunAt = sqldb.Micros(tx.now)
	}
	if len(jobs) > 0 {
		if err := c.queueDue(jobs); err != nil {
			return false, err
		}
	}
	if len(jobs) < holdStep {
		_, err = tx.Exec(`DELETE FROM dispatch_hold WHERE id = ? AND ended = 1`, h.ID)
	}
	return true, err
}

// endLate ends a hold whose time is over.
func (tx *Tx) endLate(id hostler.HoldID) error {
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return err
	}
	h, err := queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE id = ? AND ended = 0 AND until <> 0 AND until <= ?`,
		id, sqldb.Micros(tx.now))
	if err != nil || h == nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE dispatch_hold SET ended = 1 WHERE id = ?`, id); err != nil {
		return err
	}
	tx.Emit(h.Project, hostler.EventDispatchReleased, hostler.ObjectEvent{Object: h.Object()})
	return tx.AppendAudit(h.Project, hostler.Audit{User: serverUser, Verb: "hold.end", Object: h.Object()})
}

// HoldsEnding reports whether [Tx.FollowHolds] or [Tx.ReleaseLate] has anything to do.
func (tx *Tx) HoldsEnding() (bool, error) {
	ending, err := tx.exists(`SELECT id FROM dispatch_hold WHERE ended = 1 OR until <> 0 AND until <= ? LIMIT 1`,
		sqldb.Micros(tx.now))
	if err != nil || ending {
		return ending, err
	}
	h, err := tx.readHold()
	return h != nil && !holds(h, tx.now), err
}

// endHoldsOf ends the holds of assets that the transaction deleted, at its end: few assets
// have one, and only then the queue stops for a moment.
func (tx *Tx) endHoldsOf(assets []hostler.AssetID) error {
	if len(assets) == 0 {
		return nil
	}
	holds, err := column[hostler.HoldID](tx, `SELECT id FROM dispatch_hold WHERE asset IN ?* AND ended = 0`, assets)
	if err != nil {
		return err
	}
	for _, id := range holds {
		if err := tx.EndHold(id); err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file decides whether the user who created a job may still run it, and whether its
// project may still use its queue. A claim asks
// before it leases a job, so that disabling a user, or taking a role away, also stops
// what the user has left behind in the queue.
//
// Each change of users, roles and grants raises a number in the database. A claim reads it with
// the row of its worker, and decides by what this server has cached of users only while
// the number is the same: the decision is right at the moment of the claim, on every
// server, and costs no statement as long as nobody's rights change.

const rightsMeta = "rights"

// rightsChanged raises the number of the rights. Every change of a user's or a role's
// rights calls it in its transaction.
func (tx *Tx) rightsChanged() error {
	_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, '1')
ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)`, rightsMeta)
	return err
}

// rightsNumber is the expression for the number of the rights: empty when nothing was ever
// changed.
const rightsNumber = `COALESCE((SELECT m.value FROM meta m WHERE m.key = '` + rightsMeta + `'), '')`

// maxCreators bounds the cache; a full one is emptied.
const maxCreators = 10_000

// rightsCache caches the rights of users who created jobs.
type rightsCache struct {
	restricted map[string][]string                   // see [Store.Restrict]; never changed after that
	elsewhere  map[string]func(json.RawMessage) bool // see [Store.Confine]; likewise

	mu     sync.Mutex
	number string
	all    map[creator]creatorRights
	grants queueGrants // nil: not read
}

// queueGrants are the projects that queues are granted to; others are open to all.
type queueGrants map[string][]hostler.ProjectID

// closed reports whether a queue is not open to a project.
func (g queueGrants) closed(queue string, project hostler.ProjectID) bool {
	granted, restricted := g[queue]
	return restricted && !slices.Contains(granted, project)
}

// creator is a user in a project. Jobs of earlier versions have a name only.
type creator struct {
	id      hostler.UserID
	name    string
	project hostler.ProjectID
}

// creatorRights are the rights of a creator.
type creatorRights struct {
	missing  bool // no such user: the server's own job
	disabled bool
	admin    bool // of the default project
	project  string
	role     hostler.Role
	limit    hostler.RoleLimit
}

// forbids reports whether a job may not start: for its user, or for the action.
func (rc *rightsCache) forbids(r creatorRights, action string) bool {
	if r.missing {
		return false
	}
	projects, restricted := rc.restricted[action]
	return r.disabled || !r.role.Includes(hostler.RoleOperator) || !r.limit.AllowsAction(action) ||
		restricted && !r.admin && !slices.Contains(projects, r.project)
}

// Restrict names actions whose jobs start only for admins of the default project, and in
// the named projects. It is called before the store is used.
func (s *Store) Restrict(actions map[string][]string) { s.rights.restricted = actions }

// Confine names actions whose jobs may work on something other than their assets, by their
// args: those do not start for users who are limited to certain assets. It is called before
// the store is used.
func (s *Store) Confine(elsewhere map[string]func(args json.RawMessage) bool) {
	s.rights.elsewhere = elsewhere
}

// get returns the cached rights of creators, by the number that the caller has read, and
// those that are not cached.
func (rc *rightsCache) get(number string, all []creator) (found map[creator]creatorRights, missing []creator) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.number != number || len(rc.all) > maxCreators {
		rc.number, rc.all, rc.grants = number, map[creator]creatorRights{}, nil
	}
	found = make(map[creator]creatorRights, len(all))
	for _, c := range all {
		if r, ok := rc.all[c]; ok {
			found[c] = r
		} else if !slices.Contains(missing, c) {
			missing = append(missing, c)
		}
	}
	return found, missing
}

func (rc *rightsCache) put(number string, rights map[creator]creatorRights) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.number == number && rc.all != nil {
		maps.Copy(rc.all, rights)
	}
}

// queueGrants returns the grants of all queues, by the number of the rights.
func (tx *Tx) queueGrants(number string) (queueGrants, error) {
	rc := tx.rights
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.number == number && rc.grants != nil {
		return rc.grants, nil
	}
	grants := queueGrants{}
	err := queryEach(tx, `SELECT @cols FROM queue_grant`, nil, func(g *grantRow) error {
		grants[g.Queue] = append(grants[g.Queue], g.Project)
		return nil
	})
	if err == nil && rc.number == number {
		rc.grants = grants
	}
	return grants, err
}

// jobOrigin is what decides whether a job may start.
type jobOrigin struct {
	ID          hostler.JobID     `db:"id"`
	Project     hostler.ProjectID `db:"project"`
	Queue       string            `db:"queue"`
	Action      string            `db:"action"`
	Asset       int64             `db:"asset"`
	CreatedBy   string            `db:"created_by"`
	CreatedByID hostler.UserID    `db:"created_by_id"`
}

// creator is the user who created the job; false for a job of the server itself.
func (j *jobOrigin) creator() (creator, bool) {
	if j.CreatedByID != 0 {
		return creator{id: j.CreatedByID, project: j.Project}, true
	}
	return creator{name: j.CreatedBy, project: j.Project}, j.CreatedBy != ""
}

// forbidden returns those of the jobs that may not start, by the number of the rights.
func (tx *Tx) forbidden(number string, jobs []jobOrigin) (map[hostler.JobID]bool, error) {
	all := make([]creator, 0, len(jobs))
	for i := range jobs {
		if c, ok := jobs[i].creator(); ok && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	rights, missing := tx.rights.get(number, all)
	if len(missing) > 0 {
		read, err := tx.readRights(missing)
		if err != nil {
			return nil, err
		}
		tx.rights.put(number, read)
		maps.Copy(rights, read)
	}
	grants, err := tx.queueGrants(number)
	if err != nil {
		return nil, err
	}
	out := map[hostler.JobID]bool{}
	var limited []jobOrigin
	for i := range jobs {
		c, ok := jobs[i].creator()
		switch r := rights[c]; {
		case grants.closed(jobs[i].Queue, jobs[i].Project):
			out[jobs[i].ID] = true
		case !ok:
		case tx.rights.forbids(r, jobs[i].Action):
			out[jobs[i].ID] = true
		case !r.missing && len(r.limit.Labels) > 0:
			limited = append(limited, jobs[i])
		}
	}
	return out, tx.forbidByLabel(rights, limited, out)
}

// forbidByLabel adds the jobs whose assets are outside the limit of their users.
func (tx *Tx) forbidByLabel(
	rights map[creator]creatorRights, jobs []jobOrigin, out map[hostler.JobID]bool,
) error {
	if len(jobs) == 0 {
		return nil
	}
	ids := make([]int64, len(jobs))
	for i := range jobs {
		ids[i] = jobs[i].Asset
	}
	labels, err := tx.labelsOf(ids)
	if err != nil {
		return err
	}
	for i := range jobs {
		c, _ := jobs[i].creator()
		have, exists := labels[jobs[i].Asset]
		if !exists || !rights[c].limit.AllowsAsset(have) {
			out[jobs[i].ID] = true
		}
	}
	return tx.forbidElsewhere(jobs, out)
}

// forbidElsewhere adds the jobs of users with limited assets that work elsewhere.
func (tx *Tx) forbidElsewhere(jobs []jobOrigin, out map[hostler.JobID]bool) error {
	var ids []hostler.JobID
	for i := range jobs {
		if tx.rights.elsewhere[jobs[i].Action] != nil && !out[jobs[i].ID] {
			ids = append(ids, jobs[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	type argsRow struct {
		ID     hostler.JobID   `db:"j.id"`
		Action string          `db:"j.action"`
		Args   json.RawMessage `db:"COALESCE(s.args, j.args),text"`
	}
	// Args may be large: one row at a time is in memory.
	return queryEach(tx, `SELECT @cols FROM job j LEFT JOIN run_args s ON s.id = j.shared_args
WHERE j.id IN ?*`, []any{ids}, func(r *argsRow) error {
		if tx.rights.elsewhere[r.Action](r.Args) {
			out[r.ID] = true
		}
		return nil
	})
}

// labelsOf reads the labels of assets; those that do not exist are left out.
func (tx *Tx) labelsOf(ids []int64) (map[int64]map[string]string, error) {
	type labelled struct {
		ID     int64  `db:"id"`
		Labels string `db:"labels"`
	}
	out := make(map[int64]map[string]string, len(ids))
	err := queryEach(tx, `SELECT @cols FROM asset WHERE id IN ?*`, []any{ids}, func(r *labelled) (err error) {
		out[r.ID], err = decodeMap(r.Labels)
		return err
	})
	return out, err
}

// readRights reads the rights of creators.
func (tx *Tx) readRights(all []creator) (map[creator]creatorRights, error) {
	ids, names := make([]hostler.UserID, 0, len(all)), make([]string, 0, len(all))
	projects := make([]hostler.ProjectID, 0, len(all))
	for _, c := range all {
		if c.id != 0 {
			ids = append(ids, c.id)
		} else {
			names = append(names, c.name)
		}
		projects = append(projects, c.project)
	}
	type userRow struct {
		ID       hostler.UserID `db:"id"`
		Name     string         `db:"name"`
		Disabled bool           `db:"disabled"`
	}
	users, err := query[userRow](tx, `SELECT @cols FROM users WHERE id IN ?* OR name IN ?*`, ids, names)
	if err != nil {
		return nil, err
	}
	found := make([]hostler.UserID, len(users))
	for i, u := range users {
		found[i] = u.ID
	}
	installation, err := tx.defaultProject()
	if err != nil {
		return nil, err
	}
	roles, err := tx.rolesIn(found, append(projects, installation))
	if err != nil {
		return nil, err
	}
	out := make(map[creator]creatorRights, len(all))
	for _, c := range all {
		r := creatorRights{missing: true}
		for _, u := range users {
			if c.id == u.ID || c.id == 0 && c.name == u.Name {
				role := roles[userProject{u.ID, c.project}]
				r = creatorRights{
					disabled: u.Disabled, role: role.Role, limit: role.Limit, project: role.ProjectName,
					admin: roles[userProject{u.ID, installation}].Role == hostler.RoleAdmin,
				}
			}
		}
		out[c] = r
	}
	return out, nil
}

// defaultProject is the id of the default project.
func (tx *Tx) defaultProject() (id hostler.ProjectID, err error) {
	_, err = tx.one(`SELECT id FROM project WHERE name = ?`, []any{hostler.DefaultProject}, &id)
	return id, err
}

type userProject struct {
	user    hostler.UserID
	project hostler.ProjectID
}

// rolesIn reads the roles of users in projects.
func (tx *Tx) rolesIn(users []hostler.UserID, projects []hostler.ProjectID) (map[userProject]UserRole, error) {
	type row struct {
		userRoleRow
		User hostler.UserID `db:"x.user_id"`
	}
	out := map[userProject]UserRole{}
	err := queryEach(tx, `SELECT @cols`+fromUserRole+`WHERE x.user_id IN ?* AND x.project IN ?*`,
		[]any{users, projects}, func(r *row) (err error) {
			out[userProject{r.User, r.Project}], err = r.role()
			return err
		})
	return out, err
}

// holdSpan is how long a job that may not start is held before its right is checked
// again.
const holdSpan = time.Minute

// holdMost is how many jobs one call of HoldJobs looks at beyond those that it was given.
const holdMost = 500

// HoldJobs delays queued jobs that may not start, and returns how many: they give their
// lanes back. The right to start is checked again after holdSpan, and jobs that a hold is
// about wait for its end. It looks at the given jobs,
// and at those that claims would find next in the same queues: their user may have queued
// many. A claim that found forbidden jobs is followed by it in a transaction of its own,
// which locks lanes first.
func (tx *Tx) HoldJobs(ids []hostler.JobID) (int, error) {
	c, err := tx.changeQueue()
	if err != nil {
		return 0, err
	}
	next, err := tx.nextReady(ids)
	if err != nil {
		return 0, err
	}
	delayed, err := tx.delayed(append(next, ids...))
	if err != nil || len(delayed) == 0 {
		return 0, err
	}
	entries, err := c.withdrawQueued(slices.Sorted(maps.Keys(delayed)))
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	rows := make([]schedRow, len(entries))
	for i, e := range entries {
		c.releaseLane(e)
		e.HoldsLane = false
		rows[i] = c.schedule(delayed[e.ID], &e)
	}
	if err := c.insertSched(rows); err != nil {
		return 0, err
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return len(entries), tx.emitJobs(entryIDs(entries), func(e *hostler.JobEvent) {
		e.State, e.Cause = hostler.StateScheduled, hostler.CauseHold
	})
}

// delayed returns until when those of some jobs are delayed that may not start.
func (tx *Tx) delayed(ids []hostler.JobID) (map[hostler.JobID]int64, error) {
	jobs, err := query[jobOrigin](tx, `SELECT @cols FROM job WHERE id IN ?*`, ids)
	if err != nil {
		return nil, err
	}
	forbidden, err := tx.forbiddenOf(jobs)
	if err != nil {
		return nil, err
	}
	held, err := tx.heldJobs(jobs)
	until := make(map[hostler.JobID]int64, len(forbidden)+len(held))
	for id := range forbidden {
		until[id] = sqldb.Micros(tx.now.Add(holdSpan))
	}
	for id, h := range held {
		until[id] = h.runAt()
	}
	return until, err
}

// nextReady returns up to holdMost ready jobs that claims would find next in the groups
// of jobs, and up to as many that wait for the same lanes.
func (tx *Tx) nextReady(ids []hostler.JobID) (next []hostler.JobID, err error) {
	type group struct {
		Queue   string            `db:"queue"`
		Project hostler.ProjectID `db:"project"`
	}
	groups, err := query[group](tx, `SELECT DISTINCT @cols FROM job WHERE id IN ?* LIMIT ?`, ids, claimGroups)
	for _, g := range groups {
		of, err := column[hostler.JobID](tx, `SELECT id FROM ready WHERE queue = ? AND project = ? AND owner = 0
ORDER BY rank, id LIMIT ?`, g.Queue, g.Project, holdMost/len(groups))
		if err != nil {
			return nil, err
		}
		next = append(next, of...)
	}
	if err != nil {
		return nil, err
	}
	behind, err := column[hostler.JobID](tx, `SELECT w.id FROM wait w WHERE w.lane IN
(SELECT j.lane FROM job j WHERE j.id IN ?* AND j.lane <> 0) LIMIT ?`, append(next, ids...), holdMost)
	return append(next, behind...), err
}

// forbiddenNow returns those of the jobs that may not start, by their ids.
func (tx *Tx) forbiddenNow(ids []hostler.JobID) ([]hostler.JobID, error) {
	jobs, err := query[jobOrigin](tx, `SELECT @cols FROM job WHERE id IN ?*`, ids)
	if err != nil {
		return nil, err
	}
	forbidden, err := tx.forbiddenOf(jobs)
	return slices.Sorted(maps.Keys(forbidden)), err
}

// forbiddenOf returns those of the jobs that may not start.
func (tx *Tx) forbiddenOf(jobs []jobOrigin) (map[hostler.JobID]bool, error) {
	var number string
	if _, err := tx.one(`SELECT `+rightsNumber, nil, &number); err != nil {
		return nil, err
	}
	return tx.forbidden(number, jobs)
}

// keepHeld delays due jobs further that still may not start, and returns the others.
func (c *queueChange) keepHeld(due []dueJob) ([]dueJob, error) {
	ids := make([]hostler.JobID, len(due))
	for i := range due {
		ids[i] = due[i].ID
	}
	forbidden, err := c.tx.forbiddenNow(ids)
	if err != nil || len(forbidden) == 0 {
		return due, err
	}
	lanes := make([]laneID, len(due))
	for i := range due {
		lanes[i] = due[i].Lane
	}
	if err := c.lockLanes(lanes); err != nil {
		return nil, err
	}
	// One that holds its lane would keep it from others: it goes through the queue, where
	// HoldJobs gives its lane back.
	held, err := column[hostler.JobID](c.tx, `UPDATE sched SET run_at = ? WHERE id IN ?* AND lane_held = 0
RETURNING id`, sqldb.Micros(c.tx.now.Add(holdSpan)), forbidden)
	return slices.DeleteFunc(due, func(d dueJob) bool { return slices.Contains(held, d.ID) }), err
}

// withdrawQueued takes jobs out of wait and ready, with their lanes locked.
func (c *queueChange) withdrawQueued(ids []hostler.JobID) ([]entry, error) {
	lanes, err := column[laneID](c.tx, `SELECT DISTINCT lane FROM job WHERE id IN ?* AND lane <> 0`, ids)
	if err != nil {
		return nil, err
	}
	if err := c.lockLanes(lanes); err != nil {
		return nil, err
	}
	waiting, err := c.takeWait(ids)
	if err != nil {
		return nil, err
	}
	ready, err := c.takeReady(ids)
	return append(waiting, ready...), err
}

// MayStart reports whether the user who created a waiting job may still run it, in its queue.
func (tx *Tx) MayStart(id hostler.JobID) (bool, error) {
	forbidden, err := tx.forbiddenNow([]hostler.JobID{id})
	return len(forbidden) == 0, err
}

// JobsOfUser are live jobs that a user created. Next is where to go on, 0 at the end.
type JobsOfUser struct {
	Jobs []JobOfUser
	Next hostler.JobID
}

// JobOfUser is a live job.
type JobOfUser struct {
	ID      hostler.JobID     `db:"id"`
	Project hostler.ProjectID `db:"project"`
}

// LiveJobsOf finds up to limit live jobs that a user created, in all projects and after
// an id, among the next scan live jobs. Jobs of earlier versions have the name only.
func (tx *Tx) LiveJobsOf(
	user hostler.UserID, name string, after hostler.JobID, limit, scan int,
) (out JobsOfUser, err error) {
	type liveJob struct {
		JobOfUser
		Mine bool `db:"CASE WHEN created_by_id = ? OR created_by_id = 0 AND created_by = ? THEN 1 ELSE 0 END"`
	}
	seen := 0
	err = queryEach(tx, `SELECT @cols FROM job WHERE id > ? ORDER BY id LIMIT ?`,
		[]any{user, name, after, scan}, func(j *liveJob) error {
			seen++
			if len(out.Jobs) == limit {
				return nil
			}
			if out.Next = j.ID; j.Mine {
				out.Jobs = append(out.Jobs, j.JobOfUser)
			}
			return nil
		})
	if seen < scan && len(out.Jobs) < limit {
		out.Next = 0
	}
	return out, err
}

// Admins names up to limit enabled admins of a project, by name.
func (tx *Tx) Admins(project hostler.ProjectID, limit int) ([]string, error) {
	return column[string](tx, `SELECT u.name FROM user_role x JOIN users u ON u.id = x.user_id
WHERE x.project = ? AND x.role = 'admin' AND u.disabled = 0 ORDER BY u.name LIMIT ?`, project, limit)
}

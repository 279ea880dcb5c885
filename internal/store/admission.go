package store

import (
	"cmp"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file decides which jobs may enter the queue: those of queues that are open to their
// project, within the limits that an admin of the installation set for the project. All
// paths that create jobs end in [Tx.Enqueue], which asks.

// limitRow is a row of table project_limit.
type limitRow struct {
	Project    hostler.ProjectID `db:"project"`
	Weight     int64             `db:"weight"`
	MaxRunning int64             `db:"max_running"`
	MaxQueued  int64             `db:"max_queued"`
	MaxTimeout int64             `db:"max_timeout"` // microseconds
	MaxBackoff int64             `db:"max_backoff"` // microseconds
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// Admission is what decides whether jobs may enter some queues.
type Admission struct {
	queues  map[string]queueRow
	granted map[string][]hostler.ProjectID // of queues that are not open to all projects
	limits  map[hostler.ProjectID]limitRow
	holds   *Tx // reads what the holds refuse; nil when none does
}

// Admission reads what decides whether jobs of a project may enter queues.
func (tx *Tx) Admission(project hostler.ProjectID, queues ...string) (*Admission, error) {
	_, a, err := tx.readAdmission(queues, []hostler.ProjectID{project})
	return a, err
}

// readAdmission reads the queues that matter to a change, and what decides whether jobs
// may enter some of them: one statement where no queue is granted and no project limited.
func (tx *Tx) readAdmission(queues []string, projects []hostler.ProjectID) (*queueChange, *Admission, error) {
	type openQueue struct {
		queueRow
		Grants  bool `db:"CASE WHEN EXISTS (SELECT 1 FROM queue_grant g WHERE g.queue = queue.name) THEN 1 ELSE 0 END"`
		Limited bool `db:"CASE WHEN EXISTS (SELECT 1 FROM project_limit p WHERE p.project IN ?*) THEN 1 ELSE 0 END"`
		Refuses bool `db:"CASE WHEN EXISTS (SELECT 1 FROM dispatch_hold h WHERE h.project IN ?* AND h.mode = 'refuse') THEN 1 ELSE 0 END"`
	}
	c := &queueChange{tx: tx, queues: map[string]queueRow{}, lanes: map[laneID]*lane{}}
	a := &Admission{queues: c.queues, granted: map[string][]hostler.ProjectID{}}
	limited := false
	err := queryEach(tx, `SELECT @cols FROM queue WHERE paused = 1 OR lim > 0 OR lanes_pending = 1 OR name IN ?*`,
		[]any{projects, projects, queues}, func(q *openQueue) error {
			c.know(q.queueRow)
			if q.Refuses {
				a.holds = tx
			}
			limited = limited || q.Limited
			if q.Grants {
				a.granted[q.Name] = nil
			}
			return nil
		})
	if err == nil && len(a.granted) > 0 {
		err = tx.readGrants(a, queues)
	}
	if err == nil && limited {
		a.limits, err = tx.limits(projects)
	}
	return c, a, err
}

func (tx *Tx) readGrants(a *Admission, queues []string) error {
	return queryEach(tx, `SELECT @cols FROM queue_grant WHERE queue IN ?*`, []any{queues}, func(g *grantRow) error {
		a.granted[g.Queue] = append(a.granted[g.Queue], g.Project)
		return nil
	})
}

// limits reads the limits of those projects that have any.
func (tx *Tx) limits(projects []hostler.ProjectID) (map[hostler.ProjectID]limitRow, error) {
	rows, err := query[limitRow](tx, `SELECT @cols FROM project_limit WHERE project IN ?*`, projects)
	out := make(map[hostler.ProjectID]limitRow, len(rows))
	for _, r := range rows {
		out[r.Project] = r
	}
	return out, err
}

// Open reports whether a queue exists and is open to a project.
func (a *Admission) Open(queue string, project hostler.ProjectID) bool {
	granted, restricted := a.granted[queue]
	_, exists := a.queues[queue]
	return exists && (!restricted || slices.Contains(granted, project))
}

// Check refuses a job that a hold refuses, whose queue does not exist or is not open to its
// project, or whose timeout or backoff is longer than the project's limit. Times that nobody
// chose are lowered to the limit.
func (a *Admission) Check(s *hostler.JobSpec) error {
	if err := a.checkHolds([]hostler.JobSpec{*s}); err != nil {
		return err
	}
	return a.checkLimits(s)
}

func (a *Admission) checkHolds(specs []hostler.JobSpec) error {
	if a.holds == nil {
		return nil
	}
	return a.holds.CheckHolds(specs)
}

func (a *Admission) checkLimits(s *hostler.JobSpec) error {
	if !a.Open(s.Queue, s.Project) {
		return errQueueClosed(s.Queue)
	}
	l, limited := a.limits[s.Project]
	if !limited {
		return nil
	}
	if most := micros(l.MaxTimeout); most > 0 && s.Timeout > most {
		if !s.DefaultTimeout {
			return errOverLimit("timeout", s.Timeout, "max_timeout", most)
		}
		s.Timeout = most
	}
	most := micros(l.MaxBackoff)
	if most == 0 {
		return nil
	}
	for _, d := range []struct {
		field string
		span  hostler.Duration
	}{{"backoff.base", s.Backoff.Base}, {"backoff.max", s.Backoff.Max}} {
		if d.span.D() > most {
			return errOverLimit(d.field, d.span.D(), "max_backoff", most)
		}
	}
	longest := cmp.Or(s.Backoff.Max, hostler.DefaultBackoffMax)
	if longest.D() > most {
		s.Backoff.Max = hostler.Duration(most)
	}
	return nil
}

// admit checks jobs, and returns them as they may be created.
func (a *Admission) admit(specs []hostler.JobSpec) ([]hostler.JobSpec, error) {
	if len(a.limits) > 0 {
		specs = slices.Clone(specs) // they are the caller's
	}
	if err := a.checkHolds(specs); err != nil {
		return nil, err
	}
	for i := range specs {
		if err := a.checkLimits(&specs[i]); err != nil {
			return nil, err
		}
	}
	return specs, nil
}

// checkWaiting refuses more jobs, counted by project, than the projects may have waiting.
func (a *Admission) checkWaiting(tx *Tx, adding map[hostler.ProjectID]int64) error {
	for p, n := range adding {
		most := a.limits[p].MaxQueued
		if most == 0 {
			continue
		}
		waiting, err := tx.waitingOf(p)
		if err != nil {
			return err
		}
		if waiting+n > most {
			err := hostler.Errorf(hostler.CodeQueueFull,
				"the project has %d jobs waiting, %d more would pass its limit max_queued of %d; "+
					"try again later, or ask an admin of the project %q to raise it",
				"本项目有 %d 个作业在等待，再加 %d 个将超过其上限 max_queued（%d）；请稍后重试，或请项目 %q 的管理员提高上限",
				waiting, n, most, hostler.DefaultProject)
			err.RetryAfter = 5
			return err
		}
	}
	return nil
}

// errQueueClosed refuses a queue that does not exist, or is granted to other projects:
// the answer does not tell which.
func errQueueClosed(queue string) error {
	return hostler.Invalid("queue",
		"queue %q does not exist or is not granted to this project; an admin of the project %q can create it "+
			"(hostler queue set %[1]s) or grant it (hostler queue set %[1]s --grant …)",
		"队列 %q 不存在或未授权给本项目；项目 %q 的管理员可以创建（hostler queue set %[1]s）"+
			"或授权（hostler queue set %[1]s --grant …）", queue, hostler.DefaultProject)
}

func errOverLimit(field string, is time.Duration, limit string, most time.Duration) error {
	return hostler.Invalid(field,
		"is %v; the limit %s of this project is %v, which an admin of the project %q can raise "+
			"(hostler project set)",
		"为 %v；本项目的上限 %s 为 %v，项目 %q 的管理员可以提高（hostler project set）",
		is, limit, most, hostler.DefaultProject)
}

// SetProjectLimits replaces the limits of a project.
func (tx *Tx) SetProjectLimits(p hostler.ProjectID, l hostler.ProjectLimits) error {
	type row struct {
		limitRow
		UpdatedAt time.Time `db:"updated_at"`
	}
	_, err := execRows(tx, `INSERT INTO project_limit (project, weight, max_running, max_queued, max_timeout,
max_backoff, updated_at) SELECT v.project, v.weight, v.max_running, v.max_queued, v.max_timeout, v.max_backoff,
v.updated_at FROM @rows WHERE true ON CONFLICT (project) DO UPDATE SET weight = excluded.weight,
max_running = excluded.max_running, max_queued = excluded.max_queued, max_timeout = excluded.max_timeout,
max_backoff = excluded.max_backoff, updated_at = excluded.updated_at`, []row{{limitRow{
		p, int64(l.Weight), int64(l.MaxRunning), int64(l.MaxQueued), l.MaxTimeout.D().Microseconds(),
		l.MaxBackoff.D().Microseconds(),
	}, tx.now}})
	tx.notifyWork(true) // a higher limit lets jobs start
	return err
}

// grantRow is a row of table queue_grant.
type grantRow struct {
	Queue   string            `db:"queue"`
	Project hostler.ProjectID `db:"project"`
}

// SetGrants replaces the projects that may use a queue; none opens it to all. Jobs of other
// projects that wait in it are held: a claim finds out that they may not start.
func (tx *Tx) SetGrants(queue string, projects []hostler.ProjectID) error {
	if err := tx.rightsChanged(); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM queue_grant WHERE queue = ?`, queue); err != nil {
		return err
	}
	rows := make([]grantRow, len(projects))
	for i, p := range projects {
		rows[i] = grantRow{queue, p}
	}
	return insert(tx, "queue_grant", rows)
}

// lockLimits reads the limits of projects, and locks those of the projects whose running
// jobs are limited.
func (c *claim) lockLimits(projects []hostler.ProjectID) (map[hostler.ProjectID]limitRow, error) {
	if !c.limitsSet {
		return nil, nil //nolint:nilnil // no project has limits
	}
	cols := columnList("", sqldb.Columns[limitRow]())
	rows, err := query[limitRow](c.tx, `SELECT * FROM (SELECT `+cols+` FROM project_limit
WHERE project IN ?* AND max_running > 0 ORDER BY project FOR UPDATE) AS capped
UNION ALL SELECT `+cols+` FROM project_limit WHERE project IN ?* AND max_running = 0`, projects, projects)
	limits := make(map[hostler.ProjectID]limitRow, len(rows))
	for _, r := range rows {
		limits[r.Project] = r
	}
	return limits, err
}

package store

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file finds the parts of the history that a read needs. The history is in many
// parts, one for each day on PostgreSQL and for each 250,000 jobs on SQLite; a read that
// asked all of them would cost more with each day. Table history_span has the smallest
// and the largest id of each project in the parts that get no more rows; the few others
// are open.

// part is a part of the history that may have what a read looks for.
type part struct {
	Name  string `db:"part"`
	MaxID int64  `db:"max_id"` // of the project; unknown for an open part
	Since int64  `db:"since"`  // orders the open parts
}

func (p *part) open() bool { return p.MaxID == math.MaxInt64 }

// anyProject is the project of history_span that stands for all.
const anyProject = 0

// clockSlack covers the clocks of other servers that are ahead.
const clockSlack = 24 * time.Hour

// parts lists the parts of the history that may have jobs of a project with ids from low
// to high: first the open ones, the newest first, then the others by their largest id.
func (tx *Tx) parts(project hostler.ProjectID, low, high int64) ([]part, error) {
	now := sqldb.Micros(tx.now.Add(clockSlack))
	all, err := query[part](tx, `SELECT p.name, CAST(? AS BIGINT), p.since FROM history_part p
WHERE p.since <= ? AND NOT EXISTS (SELECT 1 FROM history_span a WHERE a.project = ? AND a.part = p.name)
UNION ALL SELECT s.part, s.max_id, 0 FROM history_span s WHERE s.project = ? AND s.min_id <= ? AND s.max_id >= ?`,
		int64(math.MaxInt64), now, anyProject, project, high, low)
	slices.SortFunc(all, func(a, b part) int {
		return cmp.Or(cmp.Compare(b.MaxID, a.MaxID), cmp.Compare(b.Since, a.Since))
	})
	return all, err
}

// eachEnded runs a query of ended jobs in the parts of the history that may have some of
// them, until found reports that it has all. The query is built from the name of a part.
func (tx *Tx) eachEnded(project hostler.ProjectID, ids []hostler.JobID, found func() bool,
	read func(part string) error,
) error {
	if len(ids) == 0 {
		return nil
	}
	parts, err := tx.parts(project, int64(slices.Min(ids)), int64(slices.Max(ids)))
	if err != nil {
		return err
	}
	// The closed ones first, whose ids are known, and of them the one that ends first: most
	// jobs end soon.
	open := slices.IndexFunc(parts, func(p part) bool { return !p.open() })
	if open < 0 {
		open = len(parts)
	}
	slices.Reverse(parts[open:])
	for _, p := range slices.Concat(parts[open:], parts[:open]) {
		if err := read(p.Name); err != nil || found() {
			return err
		}
	}
	return nil
}

// endedJob reads columns of one ended job of any project; nil when there is none.
func endedJob[T any](tx *Tx, id hostler.JobID, where string, args ...any) (row *T, err error) {
	args = append([]any{id}, args...)
	err = tx.eachEnded(anyProject, []hostler.JobID{id}, func() bool { return row != nil },
		func(part string) (err error) {
			row, err = queryOne[T](tx, `SELECT @cols FROM `+part+` WHERE id = ?`+where, args...)
			return err
		})
	return row, err
}

// UnspannedParts lists up to limit parts of the history that get no more rows and that
// [Tx.SpanOf] was not stored for.
func (tx *Tx) UnspannedParts(limit int) ([]string, error) {
	return column[string](tx, `SELECT p.name FROM history_part p WHERE p.sealed_at <> 0 AND p.sealed_at <= ?
AND NOT EXISTS (SELECT 1 FROM history_span a WHERE a.project = ? AND a.part = p.name) ORDER BY p.since DESC LIMIT ?`,
		sqldb.Micros(tx.now), anyProject, limit)
}

// HistorySpan has the smallest and the largest id of a project in a part of the history.
type HistorySpan struct {
	Project hostler.ProjectID `db:"project"`
	Part    string            `db:"part"`
	MinID   int64             `db:"min_id"`
	MaxID   int64             `db:"max_id"`
}

// SpansOf reads the spans of a part, that of all projects first. It reads the ends of the
// groups of each project, not the jobs.
func (tx *Tx) SpansOf(name string) ([]HistorySpan, error) {
	all := HistorySpan{Project: anyProject, Part: name, MinID: 1} // of no job
	spans := []HistorySpan{all}
	for project := hostler.ProjectID(math.MinInt64); ; {
		found, err := tx.one(`SELECT project FROM `+name+` WHERE project > ? ORDER BY project LIMIT 1`,
			[]any{project}, &project)
		if err != nil || !found {
			spans[0] = all
			return spans, err
		}
		s := HistorySpan{Project: project, Part: name}
		if err := tx.growSpan(&s); err != nil {
			return nil, err
		}
		if all.MaxID == 0 || s.MinID < all.MinID {
			all.MinID = s.MinID
		}
		all.MaxID = max(all.MaxID, s.MaxID)
		spans = append(spans, s)
	}
}

// growSpan extends the span of a project to all of its groups in the part.
func (tx *Tx) growSpan(s *HistorySpan) error {
	const limit = 1000
	for after := (endedGroup{}); ; {
		groups, err := tx.endedGroups(s.Part, s.Project, after, limit)
		if err != nil {
			return err
		}
		for _, g := range groups {
			for _, order := range []string{``, ` DESC`} {
				var id int64
				_, err := tx.one(`SELECT id FROM `+s.Part+` WHERE project = ? AND action = ? AND queue = ? ORDER BY id`+
					order+` LIMIT 1`, []any{s.Project, g.Action, g.Queue}, &id)
				if err != nil {
					return err
				}
				if s.MaxID == 0 || id < s.MinID {
					s.MinID = id
				}
				s.MaxID = max(s.MaxID, id)
			}
		}
		if len(groups) < limit {
			return nil
		}
		after = groups[len(groups)-1]
	}
}

// endedGroup names the ended jobs of one action and one queue. Those of a project in a
// part of the history are a range of an index, in the order of their ids.
type endedGroup struct {
	Action string `db:"g.action"`
	Queue  string `db:"g.queue"`
}

// maxEndedGroups is how many groups of a project a read merges. A project that has more in
// a part is searched by id.
const maxEndedGroups = 64

// endedGroups lists up to limit groups of a project in a part of the history, in their
// order after a given one: one step of the index for each.
func (tx *Tx) endedGroups(name string, project hostler.ProjectID, after endedGroup, limit int) ([]endedGroup, error) {
	next := func(action, queue string) string {
		return `COALESCE(
(SELECT y.id FROM ` + name + ` y WHERE y.project = ? AND y.action = ` + action + ` AND y.queue > ` + queue + `
ORDER BY y.queue, y.id LIMIT 1),
(SELECT y.id FROM ` + name + ` y WHERE y.project = ? AND y.action > ` + action + ` ORDER BY y.action, y.queue, y.id LIMIT 1))`
	}
	return query[endedGroup](tx, `WITH RECURSIVE g (action, queue, n) AS (
SELECT x.action, x.queue, 1 FROM `+name+` x WHERE x.id = `+next(`?`, `?`)+`
UNION ALL SELECT x.action, x.queue, g.n + 1 FROM g JOIN `+name+` x ON x.id = `+next(`g.action`, `g.queue`)+`
WHERE g.n < ?) SELECT @cols FROM g ORDER BY g.n`,
		project, after.Action, after.Queue, project, after.Action, project, project, limit)
}

// endedActions lists up to limit actions of a project in a part of the history, as groups
// without queues.
func (tx *Tx) endedActions(name string, project hostler.ProjectID, limit int) ([]endedGroup, error) {
	next := func(after string) string {
		return `(SELECT min(y.action) FROM ` + name + ` y WHERE y.project = ? AND y.action > ` + after + `)`
	}
	return query[endedGroup](tx, `WITH RECURSIVE g (action, queue, n) AS (
SELECT `+next(`?`)+`, '', 1 UNION ALL SELECT `+next(`g.action`)+`, '', g.n + 1 FROM g WHERE g.action IS NOT NULL AND g.n < ?)
SELECT @cols FROM g WHERE g.action IS NOT NULL ORDER BY g.n`, project, "", project, limit)
}

// queuesOfAction lists up to limit groups of one action of a project in a part of the history.
func (tx *Tx) queuesOfAction(name string, project hostler.ProjectID, action string, limit int) ([]endedGroup, error) {
	next := func(after string) string {
		return `(SELECT min(y.queue) FROM ` + name + ` y WHERE y.project = ? AND y.action = ? AND y.queue > ` + after + `)`
	}
	return query[endedGroup](tx, `WITH RECURSIVE g (action, queue, n) AS (
SELECT CAST(? AS TEXT), `+next(`?`)+`, 1
UNION ALL SELECT g.action, `+next(`g.queue`)+`, g.n + 1 FROM g WHERE g.queue IS NOT NULL AND g.n < ?)
SELECT @cols FROM g WHERE g.queue IS NOT NULL ORDER BY g.n`, action, project, action, "", project, action, limit)
}

// InsertSpans stores the spans of a part, unless the part was dropped meanwhile or
// another server did it.
func (tx *Tx) InsertSpans(spans []HistorySpan) error {
	exists, err := tx.exists(`SELECT name FROM history_part WHERE name = ? FOR SHARE`, spans[0].Part)
	if err != nil || !exists {
		return err
	}
	_, err = insertNew(tx, "history_span", "project, part", spans)
	return err
}

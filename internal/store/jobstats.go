package store

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// This file counts jobs.

// ActionStats counts the ended jobs of one action.
type ActionStats struct {
	Count, Success, Failure int
	Total                   time.Duration // run time of all
	Last                    time.Time     // the latest end
}

// ActionStats counts the ended jobs of a project by action. It reads about as many of the
// newest as it is asked to, so that its cost is bounded.
func (tx *Tx) ActionStats(project hostler.ProjectID, newest int) (map[string]ActionStats, error) {
	type stats struct {
		Action  string    `db:"action"`
		Count   int       `db:"count(*)"`
		Success int       `db:"sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END)"`
		Micros  int64     `db:"CAST(sum(CASE WHEN started_at > 0 THEN ended_at - started_at ELSE 0 END) AS BIGINT)"`
		Last    time.Time `db:"max(ended_at)"`
		Visible bool      `db:"visible"` // to the caller; see sight.go
	}
	out := map[string]ActionStats{}
	seen, args := tx.seen(`h.asset`)
	parts, err := tx.parts(project, 0, math.MaxInt64)
	for i := 0; err == nil && i < len(parts) && newest > 0; i++ {
		var from string
		var fromArgs []any
		if from, fromArgs, err = tx.newestEnded(parts[i].Name, project, newest); err != nil || from == `` {
			continue
		}
		err = queryEach(tx, `SELECT @cols FROM (SELECT action, state, started_at, ended_at,
CASE WHEN 1 = 1`+seen+` THEN 1 ELSE 0 END AS visible FROM `+from+` WHERE h.project = ?) d GROUP BY action, visible`,
			slices.Concat(args, fromArgs, []any{project}), func(r *stats) error {
				newest -= r.Count
				if !r.Visible {
					return nil
				}
				s := out[r.Action]
				s.Count += r.Count
				s.Success += r.Success
				s.Failure += r.Count - r.Success
				s.Total += time.Duration(r.Micros) * time.Microsecond
				if r.Last.After(s.Last) {
					s.Last = r.Last
				}
				out[r.Action] = s
				return nil
			})
	}
	return out, err
}

// newestEnded is a FROM clause, with its arguments, for the newest ended jobs h of a
// project in a part of the history; empty for none. If the project has many groups there, it
// covers the newest jobs of all projects.
func (tx *Tx) newestEnded(part string, project hostler.ProjectID, newest int) (from string, args []any, err error) {
	groups, err := tx.endedGroups(part, project, endedGroup{}, maxEndedGroups+1)
	switch {
	case err != nil || len(groups) == 0:
		return ``, nil, err
	case len(groups) > maxEndedGroups:
		return `(SELECT * FROM ` + part + ` ORDER BY id DESC LIMIT ?) h`, []any{newest}, nil
	}
	ranges := make([]string, len(groups))
	for i, g := range groups {
		ranges[i] = `SELECT id FROM (SELECT id FROM ` + part + ` WHERE project = ? AND action = ? AND queue = ?
ORDER BY id DESC LIMIT ?) AS range` + strconv.Itoa(i)
		args = append(args, project, g.Action, g.Queue, newest)
	}
	return `(SELECT n.id FROM (` + strings.Join(ranges, ` UNION ALL `) + `) n ORDER BY n.id DESC LIMIT ?) m
JOIN ` + part + ` h ON h.id = m.id`, append(args, newest), nil
}

// RunSummary counts the jobs of a run of a project by state; Total is 0 when there
// is no such run.
func (tx *Tx) RunSummary(project hostler.ProjectID, run hostler.RunID) (hostler.RunSummary, error) {
	type count struct {
		State hostler.State `db:"state"`
		N     int           `db:"n"`
	}
	sum := hostler.RunSummary{Run: run, States: map[hostler.State]int{}, Done: true}
	seenLive, args := tx.seen(`j.asset`)
	seenDone, _ := tx.seen(`x.asset`)
	for _, sql := range []string{
		`SELECT ` + liveState + ` AS state, count(*)` + liveJoins +
			`WHERE j.run = ? AND j.run <> 0 AND j.project + 0 = ?` + seenLive + ` GROUP BY 1`,
		// Materialized, because SQLite would group the segments before it uses their
		// indexes.
		`WITH d AS MATERIALIZED (SELECT x.state FROM done x WHERE x.run = ? AND x.run <> 0 AND x.project + 0 = ?` + seenDone + `)
SELECT state, count(*) FROM d GROUP BY state`,
	} {
		counts, err := query[count](tx, sql, append([]any{run, project}, args...)...)
		if err != nil {
			return sum, err
		}
		for _, c := range counts {
			sum.States[c.State] += c.N
			sum.Total += c.N
			sum.Done = sum.Done && (c.State.Terminal() || c.State == hostler.StateUnknown)
		}
	}
	return sum, nil
}

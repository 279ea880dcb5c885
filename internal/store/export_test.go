package store

import (
	"context"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/stats"
)

// JobTables returns the table of the queue that each live job is in, with "+held" if it
// holds its lane there: "ready", "wait", "sched", "sched+held", "running", "parked" or
// "parked+held". For jobs that ended it returns "done:<state>", and for a job that is in
// several tables, which breaks an invariant, their names joined with "&".
func (tx *Tx) JobTables() (map[int64]string, error) {
	out := map[int64]string{}
	for _, sql := range []string{
		`SELECT id, 'ready' FROM ready`,
		`SELECT id, 'wait' FROM wait`,
		`SELECT id, CASE lane_held WHEN 1 THEN 'sched+held' ELSE 'sched' END FROM sched`,
		`SELECT id, 'running' FROM running`,
		`SELECT id, CASE lane_held WHEN 1 THEN 'parked+held' ELSE 'parked' END FROM parked`,
		`SELECT id, 'done:' || state FROM done`,
	} {
		err := tx.each(sql, nil, func(r sqldb.Rows) error {
			var id int64
			var table string
			err := r.Scan(&id, &table)
			if other, duplicate := out[id]; duplicate {
				table = other + "&" + table
			}
			out[id] = table
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RunAt returns the time at which a scheduled job is due.
func (tx *Tx) RunAt(id int64) (at int64, err error) {
	_, err = tx.one(`SELECT run_at FROM sched WHERE id = ?`, []any{id}, &at)
	return at, err
}

// Each exports each, for tests that read rows.
func (tx *Tx) Each(sql string, args []any, scan func(r sqldb.Rows) error) error {
	return tx.each(sql, args, scan)
}

// PackEvents encodes events as the body of a row.
func PackEvents(events ...Event) []byte {
	var b eventBuffer
	for i := range events {
		b.add(&events[i])
	}
	if b.n == 0 {
		return []byte{eventsPlain}
	}
	return b.pack()
}

// UnpackEvents exports unpackEvents.
func UnpackEvents(body []byte) ([]Event, error) { return unpackEvents(nil, body) }

// Relane moves the jobs of an asset as UpdateAsset does when a device key changes.
func (tx *Tx) Relane(asset hostler.AssetID, from, to string) error {
	return tx.relane([]keyChange{{asset, from, to}})
}

// SetRelaneStep changes how many jobs one step of a relaning looks at.
func SetRelaneStep(n int) (restore func()) {
	was := relaneStep
	relaneStep = n
	return func() { relaneStep = was }
}

// MoveJobs does what the end of a transaction does that changed assets.
func (tx *Tx) MoveJobs() error { return tx.moveJobs() }

// AllStats reads all rows of statistics.
func (tx *Tx) AllStats() (map[StatsKey]*stats.Figures, error) {
	out := map[StatsKey]*stats.Figures{}
	err := queryEach(tx, `SELECT @cols FROM stats`, nil, func(r *statsRow) error {
		f := r.figures()
		out[StatsKey{r.Project, r.Kind, time.Duration(r.Span) * time.Second, r.Name, r.At}] = &f
		return nil
	})
	return out, err
}

// Recount counts the history, row by row.
func (tx *Tx) Recount() (map[StatsKey]*stats.Figures, error) {
	out := map[StatsKey]*stats.Figures{}
	count := func(project int64, by, name, state string, queued, started, ended int64, spans ...time.Duration) {
		if name == "" {
			return
		}
		for _, span := range spans {
			k := StatsKey{hostler.ProjectID(project), hostler.StatsBy(by), span, name, 0}
			if span > 0 {
				k.At = ended - ended%span.Microseconds()
			}
			if out[k] == nil {
				out[k] = &stats.Figures{}
			}
			out[k].Add(stats.Job{
				State: hostler.State(state), At: time.UnixMicro(ended), Started: started > 0,
				Wait: time.Duration(started-queued) * time.Microsecond, Run: time.Duration(ended-started) * time.Microsecond,
			})
		}
	}
	err := tx.each(`SELECT d.project, d.action, d.queue, d.created_by, d.asset_name, d.state, d.queued_at, d.started_at,
d.ended_at, COALESCE((SELECT max(f.name) FROM schedule_fire f WHERE f.run = d.run), '') FROM done d`, nil,
		func(r sqldb.Rows) error {
			var project, queued, started, ended int64
			var action, queue, user, asset, state, schedule string
			err := r.Scan(&project, &action, &queue, &user, &asset, &state, &queued, &started, &ended, &schedule)
			all, hour, day := time.Duration(0), time.Hour, 24*time.Hour
			for by, name := range map[string]string{"action": action, "queue": queue, "schedule": schedule} {
				count(project, by, name, state, queued, started, ended, all, hour, day)
			}
			count(project, "user", user, state, queued, started, ended, hour, day)
			count(project, "asset", asset, state, queued, started, ended, day)
			return err
		})
	return out, err
}

// ForgetStats deletes the statistics, as if the history was older than they are.
func (tx *Tx) ForgetStats() error {
	_, err := tx.Exec(`DELETE FROM stats`)
	if err == nil {
		_, err = tx.Exec(`UPDATE stats_cursor SET part = -1, last_part = -1, before = ? WHERE id = 1`, sqldb.Micros(tx.now))
	}
	return err
}

// FillStats fills days of the statistics of assets, each with so many jobs.
func (tx *Tx) FillStats(project hostler.ProjectID, from time.Time, days, assets, jobs int) error {
	var f stats.Figures
	for i := range jobs {
		f.Add(stats.Job{State: hostler.StateSucceeded, Started: true, Run: time.Duration(i*i) * time.Millisecond, Wait: time.Duration(i) * time.Second})
	}
	rows := make([]statsRow, 0, assets)
	for d := range days {
		rows = rows[:0]
		for i := range assets {
			rows = append(rows, statsRow{
				Project: project, Kind: hostler.StatsByAsset, Span: 86400, Name: fmt.Sprintf("host%05d", i),
				At: from.AddDate(0, 0, d).UnixMicro(), Succeeded: f.Succeeded, Started: f.Started, LastAt: from,
				RunTotal: f.RunTotal.Microseconds(), RunTimes: f.RunTimes.Encode(), WaitTimes: f.WaitFor.Encode(),
			})
		}
		if err := insert(tx, "stats", rows); err != nil {
			return err
		}
	}
	return nil
}

// CountArtefactBlocks counts the blocks of all artefacts.
func (s *Store) CountArtefactBlocks(ctx context.Context) (n int64, err error) {
	err = s.log.View(ctx, func(c sqldb.Conn) error {
		_, err := (&Tx{ctx: ctx, c: c}).one(`SELECT count(*) FROM artefact_block`, nil, &n)
		return err
	})
	return n, err
}

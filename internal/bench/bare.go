package bench

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler/internal/sqldb"
)

// bare measures the ceiling: it moves the jobs of a scenario through the engine's
// tables in batches, with the statements that no engine can do without and no
// decision. Each batch is inserted, claimed and finished in one transaction each.
func (b *bench) bare(ctx context.Context) (sample, error) {
	before, err := b.meter(ctx)
	if err != nil {
		return sample{}, err
	}
	var g errgroup.Group
	for p := range producers {
		g.Go(func() error {
			for from := p * b.o.Batch; from < b.o.Jobs; from += producers * b.o.Batch {
				if err := b.bareBatch(ctx, min(b.o.Batch, b.o.Jobs-from)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	after, err := b.meter(ctx)
	return after.since(before, b.o.Jobs), err
}

// bareBatch moves n jobs through their life.
func (b *bench) bareBatch(ctx context.Context, n int) error {
	ids := make([]int64, n)
	rows := make([]bareRow, n)
	now := time.Now()
	body := string(args(now))
	for _, step := range []func(c sqldb.Conn) error{
		func(c sqldb.Conn) error {
			made, err := c.NewIDs(ctx, n)
			if err != nil {
				return err
			}
			copy(ids, made)
			for i := range rows {
				rows[i] = bareRow{ids[i], now, body}
			}
			return insertBare(ctx, c, rows)
		},
		func(c sqldb.Conn) error { return claimBare(ctx, c, ids, rows) },
		func(c sqldb.Conn) error { return finishBare(ctx, c, ids, rows) },
	} {
		if err := b.db.InTx(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// bareRow is a job of the ceiling.
type bareRow struct {
	ID   int64     `db:"id"`
	At   time.Time `db:"at"`
	Args string    `db:"args"`
}

// The statements of a job's life, with constants for what the ceiling does not vary.
const (
	bareInsertJob = `INSERT INTO job (id, project, run, queue, action, asset, asset_name, lane, lane_key,
lane_lim, prio, max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of,
created_by, created_at, args)
SELECT v.id, 1, 0, 'bare', 'noop', 0, '', 0, '',
0, 5, 1, '', 0, 'retry', 'hold', 'hold', 0, 0, 0,
'', v.at, v.args FROM @rows`

	bareInsertReady = `INSERT INTO ready (queue, project, owner, rank, id, lane, prio, attempt, losses, fence, queued_at, free_at)
SELECT 'bare', 1, 0, v.at, v.id, 0, 5, 0, 0, 0, v.at, 0 FROM @rows`

	bareInsertRunning = `INSERT INTO running (id, worker, queue, lane, prio, attempt, losses, fence, queued_at, started_at)
SELECT v.id, 1, 'bare', 0, 5, 1, 0, 1, v.at, v.at FROM @rows`

	// The name of the history's table comes before it: it depends on the store.
	bareInsertDone = ` (id, project, run, queue, action, asset, asset_name,
lane_key, lane_lim, prio, state, attempt, max_attempts, backoff, timeout,
on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at,
queued_at, started_at, ended_at, worker, fence, args, result, error, output)
SELECT j.id, j.project, j.run, j.queue, j.action, j.asset, j.asset_name,
j.lane_key, j.lane_lim, j.prio, 'succeeded', 1, j.max_attempts, j.backoff, j.timeout,
j.on_lost, j.on_unknown, j.on_retry, j.run_at, j.expires_at, j.retry_of, j.created_by, j.created_at,
v.at, v.at, v.at, 1, 1, j.args, '', '', '' FROM @rows JOIN job j ON j.id = v.id`
)

// insertBare writes jobs that are ready.
func insertBare(ctx context.Context, c sqldb.Conn, rows []bareRow) error {
	if _, err := c.ExecRows(ctx, bareInsertJob, sqldb.NewBatch(rows)); err != nil {
		return err
	}
	_, err := c.ExecRows(ctx, bareInsertReady, sqldb.NewBatch(rows))
	return err
}

// claimBare moves jobs from ready to running.
func claimBare(ctx context.Context, c sqldb.Conn, ids []int64, rows []bareRow) error {
	if _, err := c.Exec(ctx, `DELETE FROM ready WHERE id IN ?*`, ids); err != nil {
		return err
	}
	_, err := c.ExecRows(ctx, bareInsertRunning, sqldb.NewBatch(rows))
	return err
}

// finishBare moves jobs to the history.
func finishBare(ctx context.Context, c sqldb.Conn, ids []int64, rows []bareRow) error {
	_, err := c.ExecRows(ctx, `INSERT INTO `+c.InsertTable("done")+bareInsertDone, sqldb.NewBatch(rows))
	if err != nil {
		return err
	}
	for _, sql := range []string{`DELETE FROM running WHERE id IN ?*`, `DELETE FROM job WHERE id IN ?*`} {
		if _, err := c.Exec(ctx, sql, ids); err != nil {
			return err
		}
	}
	return nil
}

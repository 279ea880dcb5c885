package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// This file keeps servers whose versions cannot work together apart. Each server has a
// row in the table server, which it creates under the migration lock and renews. One
// that would make data which a live server does not know waits for that one to stop; one
// that finds itself below the floor of the data stops.

// Server describes the server that opens the database.
type Server struct {
	Hostname string
	PID      int
}

const (
	// serverRenewal is how often a server renews its row, serverTTL how long the row then
	// counts as a live server's.
	serverRenewal = 5 * time.Second
	serverTTL     = 30 * time.Second
	// olderPatience is how long a start waits for older servers: those that were killed
	// count as live for serverTTL.
	olderPatience = serverTTL + 10*time.Second
	olderPoll     = time.Second
)

// dbMicros is the database's clock in SQL.
const dbMicros = `floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// program describes this program to the data.
func (db *DB) program(conn *sql.DB) (*schema.Program, error) {
	level, err := schema.LevelOf(db.opt.Schema)
	if err != nil {
		return nil, err
	}
	db.level = level.Known
	return &schema.Program{
		Level: level, Dialect: sqldb.Postgres, Version: db.opt.Version,
		Older: func(ctx context.Context, level int64) ([]string, error) { return olderServers(ctx, conn, level) },
	}, nil
}

// olderServers lists the live servers below a level. Versions without the table server
// are recognized by their workers, which send heartbeats too.
func olderServers(ctx context.Context, db *sql.DB, level int64) (out []string, err error) {
	query := `SELECT hostname, pid, version FROM server WHERE level < $1 AND heartbeat_at > $2 ORDER BY hostname, pid`
	var known bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('server') IS NOT NULL`).Scan(&known); err != nil {
		return nil, err
	}
	if !known {
		query = `SELECT hostname, pid, version FROM worker WHERE $1 > 0 AND dead = 0 AND heartbeat_at > $2
ORDER BY hostname, pid`
	}
	var now int64
	if err := db.QueryRowContext(ctx, `SELECT `+dbMicros).Scan(&now); err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, query, level, now-serverTTL.Microseconds())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var host, version string
		var pid int64
		if err := rows.Scan(&host, &pid, &version); err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("%s (pid %d, version %s)", host, pid, version))
	}
	return out, rows.Err()
}

// upgrade migrates the database and registers the server. While older servers are live
// that could not work with the result it waits, up to a limit.
func (db *DB) upgrade(ctx context.Context, cfg *pgx.ConnConfig) error {
	began := time.Now()
	for {
		err := db.migrate(ctx, cfg)
		older, is := errors.AsType[*schema.OlderServersError](err)
		if !is {
			return err
		}
		if time.Since(began) > db.opt.OlderPatience {
			return &hostler.Error{Code: hostler.CodeConflict, Text: older.Text(), Cause: err}
		}
		db.opt.Log.WarnContext(ctx, "waiting for servers of an older version to stop", "servers", older.Servers)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(olderPoll):
		}
	}
}

// register creates the server's row. The migration lock is held.
func (db *DB) register(ctx context.Context, conn *sql.DB) error {
	s := db.opt.Server
	if s == nil {
		return nil
	}
	_, err := conn.ExecContext(ctx, `INSERT INTO server (id, hostname, pid, version, level, heartbeat_at)
VALUES ($1, $2, $3, $4, $5, `+dbMicros+`)`, db.marks.server, s.Hostname, s.PID, db.opt.Version, db.level)
	return err
}

// Watch renews the server's row until ctx is done, and then deletes it. It returns early,
// with an error, once the data requires a newer version: the server must then stop.
func (db *DB) Watch(ctx context.Context) error {
	t := time.NewTicker(serverRenewal)
	defer t.Stop()
	for {
		err := db.renew(ctx)
		switch {
		case hostler.CodeOf(err) == hostler.CodeConflict:
			db.opt.Log.ErrorContext(ctx, "this server must stop", "err", err)
			return err
		case err != nil && ctx.Err() == nil:
			db.opt.Log.WarnContext(ctx, "cannot renew the server's row; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			db.deregister(ctx)
			return nil
		case <-t.C:
		}
	}
}

// renew renews the row and checks the floor.
func (db *DB) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, serverRenewal)
	defer cancel()
	return db.with(ctx, sqldb.Leases, func(c *pgxpool.Conn) error {
		var floor int64
		var by string
		err := c.QueryRow(ctx, `SELECT level, raised_by FROM `+schema.FloorTable).Scan(&floor, &by)
		if err != nil {
			return err
		}
		if floor > db.level {
			return schema.Outdated(db.opt.Version, by, floor)
		}
		_, err = c.Exec(ctx, `INSERT INTO server (id, hostname, pid, version, level, heartbeat_at)
VALUES ($1, $2, $3, $4, $5, `+dbMicros+`) ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at`,
			db.marks.server, db.opt.Server.Hostname, db.opt.Server.PID, db.opt.Version, db.level)
		return err
	})
}

// deregister deletes the row, and those of servers that were killed long ago.
func (db *DB) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	err := db.with(ctx, sqldb.Leases, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `DELETE FROM server WHERE id = $1 OR heartbeat_at < `+dbMicros+` - $2`,
			db.marks.server, (24 * time.Hour).Microseconds())
		return err
	})
	if err != nil {
		db.opt.Log.WarnContext(ctx, "cannot delete the server's row; it counts as live for a while", "err", err)
	}
}

// Identity returns a mark of the database that a restored dump and a copy do not share:
// of the cluster, the database and a table in it. A clone from a physical backup has the
// same: it cannot be told from a standby that was promoted.
func (db *DB) Identity(ctx context.Context) (id string, err error) {
	err = db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT system_identifier::text || '/' || (SELECT oid::text FROM pg_database
WHERE datname = current_database()) || '/' || 'meta'::regclass::oid::text FROM pg_control_system()`).Scan(&id)
	})
	return id, mapError(err)
}

// Pending reports whether the database lacks tables of this program, or changes to them:
// the start of a server makes them.
func (db *DB) Pending(ctx context.Context) (pending bool, err error) {
	err = db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		var made bool
		err := c.QueryRow(ctx, `SELECT to_regclass('`+schema.VersionTable+`') IS NOT NULL`).Scan(&made)
		if err != nil || !made {
			pending = !made
			return err
		}
		return c.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM `+schema.VersionTable+`
WHERE version_id = $1 AND is_applied)`, db.level).Scan(&pending)
	})
	return pending, mapError(err)
}

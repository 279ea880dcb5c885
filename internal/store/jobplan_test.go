package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// explaining asks for the plan of each read of jobs.
type explaining struct {
	sqldb.Driver
	plans *[]string
}

func (e explaining) View(ctx context.Context, fn func(sqldb.Conn) error) error {
	return e.Driver.View(ctx, func(c sqldb.Conn) error { return fn(explainingConn{c, e}) })
}

type explainingConn struct {
	sqldb.Conn
	e explaining
}

func (c explainingConn) Query(ctx context.Context, sql string, args ...any) (sqldb.Rows, error) {
	if strings.Contains(sql, "FROM done_") || strings.Contains(sql, "FROM job j") {
		if err := c.plan(ctx, sql, args); err != nil {
			return nil, err
		}
	}
	return c.Conn.Query(ctx, sql, args...)
}

func (c explainingConn) plan(ctx context.Context, sql string, args []any) error {
	explain, width := "EXPLAIN ", 1
	if c.e.Name() == string(sqldb.SQLite) {
		explain, width = "EXPLAIN QUERY PLAN ", 4
	}
	r, err := c.Conn.Query(ctx, explain+sql, args...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		var line string
		dest := make([]any, width)
		for i := range width - 1 {
			dest[i] = new(int64)
		}
		dest[width-1] = &line
		if err := r.Scan(dest...); err != nil {
			return err
		}
		*c.e.plans = append(*c.e.plans, line)
	}
	return r.Err()
}

// TestJobsAreReadByID is a regression test: a read of one job by its id read all jobs of its
// project in that part of the history, by an index that begins with the project.
func TestJobsAreReadByID(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		var plans []string
		db := explaining{ds.Open(t), &plans}
		st := store.New(db, db)
		var project hostler.ProjectID
		var ids, live []hostler.JobID
		err := st.InTx(t.Context(), func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			if err != nil {
				return err
			}
			project = p.ID
			if _, err := tx.SetQueue("q", store.QueueSettings{}); err != nil {
				return err
			}
			w, err := tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 100})
			if err != nil {
				return err
			}
			if ids, err = tx.Enqueue(specsOf(project, "a", 50)); err != nil {
				return err
			}
			got, err := tx.Claim(w, 50)
			if err != nil {
				return err
			}
			var reports []hostler.Report
			for _, l := range got.Leases {
				reports = append(reports, hostler.Report{LeaseRef: l.LeaseRef, Attempt: l.Attempt, Outcome: hostler.OutcomeSucceeded})
			}
			if _, err = tx.Finish(w, reports); err != nil {
				return err
			}
			live, err = tx.Enqueue(specsOf(project, "a", 3))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for what, read := range map[string]func(tx *store.Tx) (int, error){
			"Jobs": func(tx *store.Tx) (int, error) {
				jobs, err := tx.Jobs(project, ids[:3])
				return len(jobs), err
			},
			"Jobs that wait": func(tx *store.Tx) (int, error) {
				jobs, err := tx.Jobs(project, live)
				return len(jobs), err
			},
			"JobSpecs": func(tx *store.Tx) (int, error) {
				specs, err := tx.JobSpecs(project, ids[:3])
				return len(specs), err
			},
		} {
			plans = nil
			err := st.View(t.Context(), func(tx *store.Tx) error {
				n, err := read(tx)
				if err == nil && n != 3 {
					err = fmt.Errorf("%d found, want 3", n)
				}
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			byProject := slices.ContainsFunc(plans, func(line string) bool {
				return strings.Contains(line, "_group") ||
					strings.Contains(line, "Index Cond") && strings.Contains(line, "project =")
			})
			if len(plans) == 0 || byProject {
				t.Errorf("%s reads by project, want by id:\n%s", what, strings.Join(plans, "\n"))
			}
		}
	})
}

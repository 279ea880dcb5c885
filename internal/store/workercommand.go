package store

import "hostler.dev/hostler"

// This file holds what people ask of a worker while it runs: to cancel jobs, to close
// connections, to stop.

// WorkerCommands are the pending requests to a worker.
type WorkerCommands struct {
	Cancel     []hostler.LeaseRef
	CloseHosts []string
	Fenced     bool // the worker must stop
}

// WorkerCommands reads the commands to a worker in one statement: heartbeats that wait
// for commands read them often.
func (tx *Tx) WorkerCommands(w hostler.WorkerID) (WorkerCommands, error) {
	type command struct {
		Job     hostler.JobID `db:"id"`
		Fence   int64         `db:"fence"`
		Address string        `db:"''"`
	}
	var out WorkerCommands
	err := queryEach(tx, `SELECT @cols FROM running WHERE worker = ? AND cancel_at <> 0
UNION ALL SELECT 0, 0, address FROM worker_order WHERE worker = ?
UNION ALL SELECT 0, 0, '' FROM worker WHERE id = ? AND dead = 1`, []any{w, w, w}, func(c *command) error {
		switch {
		case c.Job != 0:
			out.Cancel = append(out.Cancel, hostler.LeaseRef{Job: c.Job, Fence: c.Fence})
		case c.Address != "":
			out.CloseHosts = append(out.CloseHosts, c.Address)
		default:
			out.Fenced = true
		}
		return nil
	})
	return out, err
}

// TakeCloseCommands returns the addresses whose connections a worker must close, and
// deletes them: each is sent once. If the answer gets lost, so are they.
func (tx *Tx) TakeCloseCommands(w hostler.WorkerID) ([]string, error) {
	return column[string](tx, `DELETE FROM worker_order WHERE worker = ? RETURNING address`, w)
}

// CloseConnections asks a worker to close its idle connections to addresses. It
// returns how many jobs the worker runs there, and false when no such worker is live.
func (tx *Tx) CloseConnections(w hostler.WorkerID, addresses []string) (running int, found bool, err error) {
	type closing struct {
		Worker  hostler.WorkerID `db:"worker"`
		Address string           `db:"address"`
	}
	found, err = tx.exists(`SELECT id FROM worker WHERE id = ? AND dead = 0 FOR SHARE`, w)
	if err != nil || !found {
		return 0, false, err
	}
	rows := make([]closing, len(addresses))
	for i, address := range addresses {
		rows[i] = closing{w, address}
	}
	if _, err := insertNew(tx, "worker_order", "worker, address", rows); err != nil {
		return 0, false, err
	}
	_, err = tx.one(`SELECT count(*) FROM running r JOIN job j ON j.id = r.id
LEFT JOIN asset a ON a.id = j.asset LEFT JOIN job_target t ON t.job = j.id
WHERE r.worker = ? AND COALESCE(a.address, t.address, '') IN ?*`, []any{w, addresses}, &running)
	return running, true, err
}

// AddressesOf returns at which of the addresses the project works: it has an asset
// there, or a live job that brought the host along.
func (tx *Tx) AddressesOf(project hostler.ProjectID, addresses []string) (map[string]bool, error) {
	seen, seenArgs := tx.seen(`a.id`)
	args := append([]any{project, addresses}, seenArgs...)
	seenJob, _ := tx.seen(`j.asset`)
	args = append(append(args, project, addresses), seenArgs...)
	own, err := column[string](tx, `SELECT a.address FROM asset a WHERE a.project = ? AND a.address IN ?*`+seen+`
UNION SELECT t.address FROM job_target t JOIN job j ON j.id = t.job WHERE j.project + 0 = ? AND t.address IN ?*`+seenJob,
		args...)
	out := make(map[string]bool, len(own))
	for _, address := range own {
		out[address] = true
	}
	return out, err
}

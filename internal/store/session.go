package store

import (
	"encoding/json"
	"fmt"
	"math"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// saveVitals keeps what a worker says that it holds and uses. The sessions are
// written only when they changed; they are the widest part of the row.
func (tx *Tx) saveVitals(hb *hostler.Heartbeat) error {
	sessions := ""
	if len(hb.Sessions) > 0 {
		b, err := json.Marshal(hb.Sessions)
		if err != nil {
			return fmt.Errorf("encode sessions: %w", err)
		}
		sessions = validText(b)
	}
	_, err := tx.Exec(`UPDATE worker SET sessions = ? WHERE id = ? AND sessions <> ?`, sessions, int64(hb.Worker), sessions)
	return err
}

func decodeSessions(s string) ([]hostler.HostSession, error) {
	if s == "" {
		return nil, nil
	}
	var out []hostler.HostSession
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return nil, fmt.Errorf("decode sessions: %w", err)
	}
	return out, nil
}

// milli is a share as an integer, as it is stored. What no worker can use is not
// believed.
func milli(percent float64) int64 {
	if math.IsNaN(percent) || percent < 0 {
		return 0
	}
	return int64(math.Round(min(percent, 1e6) * 1000))
}

// Orders are what people want of a worker.
type Orders struct {
	Cancel     []hostler.LeaseRef
	CloseHosts []string
	Fenced     bool // it is to stop altogether
}

// Orders looks for orders to a worker in one statement; held-back heartbeats ask
// it often.
func (tx *Tx) Orders(w hostler.WorkerID) (Orders, error) {
	var out Orders
	err := tx.each(`SELECT id, fence, '' FROM running WHERE worker = ? AND cancel_at <> 0
UNION ALL SELECT 0, 0, address FROM worker_order WHERE worker = ?
UNION ALL SELECT 0, 0, '' FROM worker WHERE id = ? AND dead = 1`, []any{int64(w), int64(w), int64(w)}, func(r sqldb.Rows) error {
		var id, fence int64
		var address string
		err := r.Scan(&id, &fence, &address)
		switch {
		case id != 0:
			out.Cancel = append(out.Cancel, hostler.LeaseRef{Job: hostler.JobID(id), Fence: fence})
		case address != "":
			out.CloseHosts = append(out.CloseHosts, address)
		default:
			out.Fenced = true
		}
		return err
	})
	return out, err
}

// TakeCloseOrders takes the addresses whose connections a worker is to close: it
// is told once. An answer that gets lost takes them with it.
func (tx *Tx) TakeCloseOrders(w hostler.WorkerID) ([]string, error) {
	var out []string
	err := tx.each(`DELETE FROM worker_order WHERE worker = ? RETURNING address`, []any{int64(w)}, func(r sqldb.Rows) error {
		var address string
		err := r.Scan(&address)
		out = append(out, address)
		return err
	})
	return out, err
}

// OrderClose has a worker close its kept connections to addresses. It returns how
// many jobs the worker runs there, and false when no such worker lives.
func (tx *Tx) OrderClose(w hostler.WorkerID, addresses []string) (running int, found bool, err error) {
	var id int64
	found, err = tx.one(`SELECT id FROM worker WHERE id = ? AND dead = 0 FOR SHARE`, []any{int64(w)}, &id)
	if err != nil || !found {
		return 0, false, err
	}
	for _, address := range addresses {
		_, err := tx.Exec(`INSERT INTO worker_order (worker, address) VALUES (?, ?) ON CONFLICT (worker, address) DO NOTHING`, int64(w), address)
		if err != nil {
			return 0, false, err
		}
	}
	_, err = tx.one(`SELECT count(*) FROM running r JOIN job j ON j.id = r.id LEFT JOIN asset a ON a.id = j.asset LEFT JOIN job_target t ON t.job = j.id
WHERE r.worker = ? AND COALESCE(a.address, t.address, '') IN ?*`, []any{int64(w), addresses}, &running)
	return running, true, err
}

// StopWorkers fences workers at once and hides them from lists: a person ended
// them. Those that are stopped already are passed over. It returns the workers
// that it stopped, and how many jobs they ran; RescueJobs deals with these.
func (tx *Tx) StopWorkers(ids []hostler.WorkerID) (stopped []hostler.WorkerID, running int, err error) {
	stopped, err = tx.endWorkers(hostler.EventWorkerStopped, `id IN ?*`, ids)
	if err != nil {
		return nil, 0, err
	}
	// Also those that died of themselves: somebody has seen to them now.
	dead, err := tx.ints(`UPDATE worker SET stopped = 1 WHERE dead = 1 AND stopped = 0 AND id IN ?* RETURNING id`, ids)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range dead {
		stopped = append(stopped, hostler.WorkerID(id))
	}
	if len(stopped) == 0 {
		return nil, 0, nil
	}
	_, err = tx.one(`SELECT count(*) FROM running WHERE worker IN ?*`, []any{stopped}, &running)
	return stopped, running, err
}

// AddressesOf says at which of the addresses the project works: it has an asset
// there, or a live job that brought the host along.
func (tx *Tx) AddressesOf(project hostler.ProjectID, addresses []string) (map[string]bool, error) {
	own := map[string]bool{}
	err := tx.each(`SELECT a.address FROM asset a WHERE a.project = ? AND a.address IN ?*
UNION SELECT t.address FROM job_target t JOIN job j ON j.id = t.job WHERE j.project = ? AND t.address IN ?*`,
		[]any{project, addresses, project, addresses}, func(r sqldb.Rows) error {
			var address string
			err := r.Scan(&address)
			own[address] = true
			return err
		})
	return own, err
}

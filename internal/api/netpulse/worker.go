package netpulse

import (
	"slices"
	"time"

	"hostler.dev/hostler"
)

// Worker is a worker process, or one connection to a device that it keeps.
type Worker struct {
	Name          string   `json:"name"`
	Status        string   `json:"status" doc:"busy, idle, suspended or dead"`
	PID           int      `json:"pid"`
	Hostname      string   `json:"hostname"`
	Queues        []string `json:"queues"`
	LastHeartbeat *string  `json:"last_heartbeat"`
	BirthAt       *string  `json:"birth_at"`
	Succeeded     int64    `json:"successful_job_count"`
	Failed        int64    `json:"failed_job_count"`
	Slots         int      `json:"slots"`
	Running       int      `json:"running"`
	CPUPercent    float64  `json:"cpu_percent"`
	MemoryBytes   int64    `json:"memory_bytes"`
}

// Row is a Worker and what it is of.
type Row struct {
	Worker
	ID    hostler.WorkerID
	Host  string    // of a kept connection; "" for the process itself
	Since time.Time // when the newest connection to Host was opened
	Serve []string  // Hostler's own queues
	Dead  bool
}

// Rows shows each worker with the connections that it keeps, one row per device.
func Rows(workers []hostler.Worker, d Dialect) []Row {
	var rows []Row
	for _, w := range workers {
		process := Row{ID: w.ID, Serve: w.Queues, Dead: w.State == "dead", Worker: Worker{
			Name: w.Name, Status: workerStatus(w.State), PID: w.PID, Hostname: w.Hostname, Queues: []string{fifo},
			LastHeartbeat: stamp(&w.LastHeartbeat), BirthAt: stamp(&w.StartedAt), Succeeded: w.Succeeded, Failed: w.Failed,
			Slots: w.Slots, Running: w.Running, CPUPercent: w.CPUPercent, MemoryBytes: w.MemoryBytes,
		}}
		rows = append(rows, process)
		if !process.Dead {
			rows = append(rows, sessionRows(process, w.Sessions, d)...)
		}
	}
	return rows
}

func workerStatus(state string) string {
	if state == "draining" {
		return "suspended"
	}
	return state
}

// sessionRows has the connections to one address in one row: another user's or
// another port's is no other device.
func sessionRows(of Row, sessions []hostler.HostSession, d Dialect) []Row {
	var rows []Row
	for _, h := range sessions {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Host == h.Address })
		if i < 0 {
			i = len(rows)
			rows = append(rows, Row{ID: of.ID, Host: h.Address, Worker: Worker{
				Name: of.Name + "_" + pinnedPrefix + h.Address, Status: "idle", PID: of.PID, Hostname: of.Hostname,
				Queues: []string{d.pinned(h.Address)}, LastHeartbeat: of.LastHeartbeat, BirthAt: stamp(&h.Since), Slots: 1,
			}})
		}
		r := &rows[i]
		if h.Since.After(r.Since) {
			r.Since = h.Since
		}
		r.Running += h.Running
		r.Succeeded += h.Succeeded
		r.Failed += h.Failed
		if r.Running > 0 {
			r.Status = "busy"
		}
	}
	return rows
}

// Keeps reports whether a worker still keeps a connection of the row, and not just
// one that was opened since.
func (r Row) Keeps(workers []hostler.Worker) bool {
	return slices.ContainsFunc(workers, func(w hostler.Worker) bool {
		return w.ID == r.ID && slices.ContainsFunc(w.Sessions, func(h hostler.HostSession) bool {
			return h.Address == r.Host && !h.Since.After(r.Since)
		})
	})
}

// Selection chooses rows: the first of name and queue that is there, or else node
// and host together.
type Selection struct {
	Name  string
	Queue string
	Known bool // Queue is one of Hostler's own: workers of every queue serve it
	Node  string
	Hosts []string // addresses, of the queue's device if it has one; empty for any
}

// Empty reports whether the selection chooses every row.
func (s Selection) Empty() bool {
	return s.Name == "" && s.Queue == "" && s.Node == "" && len(s.Hosts) == 0
}

// Has reports whether the selection chooses the row.
func (s Selection) Has(r Row) bool {
	switch q := ParseQueue(s.Queue); {
	case s.Name != "":
		return r.Name == s.Name
	case s.Queue == "":
		return (s.Node == "" || r.Hostname == s.Node) && (len(s.Hosts) == 0 || r.Host != "" && slices.Contains(s.Hosts, r.Host))
	case q.Fifo:
		return r.Host == ""
	case q.Host != "":
		return r.Host != "" && slices.Contains(s.Hosts, r.Host)
	default:
		return r.Host == "" && (slices.Contains(r.Serve, q.Own) || s.Known && slices.Contains(r.Serve, "*"))
	}
}

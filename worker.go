package hostler

import "time"

// Worker is a process that leases jobs.
type Worker struct {
	ID            WorkerID  `json:"id"`
	Name          string    `json:"name"`
	Hostname      string    `json:"hostname"`
	PID           int       `json:"pid"`
	Version       string    `json:"version"`
	Queues        []string  `json:"queues" doc:"queues it serves; * is all"`
	Slots         int       `json:"slots"`
	Running       int       `json:"running"`
	State         string    `json:"state" doc:"idle, busy, draining or dead"`
	StartedAt     time.Time `json:"started_at"`
	LastHeartbeat time.Time `json:"last_heartbeat"`
	Succeeded     int64     `json:"succeeded"`
	Failed        int64     `json:"failed"`
	// Sessions are the worker's open connections to hosts.
	Sessions    []HostSession `json:"sessions,omitempty"`
	CPUPercent  float64       `json:"cpu_percent" doc:"of one core, over the last heartbeats"`
	MemoryBytes int64         `json:"memory_bytes"`
	LoadPercent float64       `json:"load_percent" doc:"of all cores of its machine, by whatever runs there"`
}

// HostSession is a connection to a host that a worker keeps open between jobs.
type HostSession struct {
	Address   string    `json:"address" doc:"as the asset or the request has it"`
	Port      int       `json:"port"`
	User      string    `json:"user"`
	Since     time.Time `json:"since"`
	LastUsed  time.Time `json:"last_used"`
	Running   int       `json:"running" doc:"jobs on it now"`
	Succeeded int64     `json:"succeeded"`
	Failed    int64     `json:"failed"`
}

// WorkerStopped answers POST /api/v1/workers/{id}/stop.
type WorkerStopped struct {
	Worker      Worker `json:"worker" doc:"before it was stopped"`
	Interrupted int    `json:"interrupted" doc:"jobs that it was running; the on_lost of each applies"`
}

// SessionClose names the host to which a worker must close its connections.
type SessionClose struct {
	Address string `json:"address" minLength:"1" maxLength:"253"`
}

// SessionClosed answers POST /api/v1/workers/{id}/close-session.
type SessionClosed struct {
	Interrupted int `json:"interrupted" doc:"jobs that the worker runs at the address"`
}

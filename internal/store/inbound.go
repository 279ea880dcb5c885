package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var inboundWord = hostler.Text{EN: "trigger", ZH: "触发器"}

// InboundRow is an inbound trigger as stored.
type InboundRow struct {
	ID        int64
	Project   hostler.ProjectID
	Input     hostler.InboundInput
	Enabled   bool
	Token     string // the hash of the secret part of its URL
	Sealed    []byte
	OldUntil  time.Time // until when the secret before the current one is accepted
	Owner     hostler.UserID
	OwnerKey  hostler.KeyID
	OwnerName string

	ProjectName string
	Window      time.Time // the minute in which Received requests arrived
	Received    int
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// inboundColumns are the columns of table inbound.
type inboundColumns struct {
	ID        int64             `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Enabled   bool              `db:"enabled"`
	Spec      []byte            `db:"spec,text"`
	Token     string            `db:"token"`
	Sealed    []byte            `db:"sealed"`
	OldUntil  time.Time         `db:"old_until"`
	Owner     hostler.UserID    `db:"owner"`
	OwnerKey  hostler.KeyID     `db:"owner_key"`
	WindowAt  time.Time         `db:"window_at"`
	WindowN   int               `db:"window_n"`
	CreatedAt time.Time         `db:"created_at"`
	UpdatedAt time.Time         `db:"updated_at"`
}

func (r *InboundRow) columns() (inboundColumns, error) {
	spec, err := json.Marshal(r.Input)
	if err != nil {
		return inboundColumns{}, fmt.Errorf("encode a trigger: %w", err)
	}
	return inboundColumns{
		ID: r.ID, Project: r.Project, Name: r.Input.Name, Enabled: r.Enabled, Spec: spec, Token: r.Token,
		Sealed: r.Sealed, OldUntil: r.OldUntil, Owner: r.Owner, OwnerKey: r.OwnerKey,
		WindowAt: r.Window, WindowN: r.Received, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}, nil
}

// InsertInbound creates an inbound trigger; seal seals its secret for the id that it gets.
// CodeConflict: the name is taken.
func (tx *Tx) InsertInbound(r InboundRow, seal func(id int64) ([]byte, error)) error {
	var err error
	if r.ID, err = tx.NewID(); err != nil {
		return err
	}
	if r.Sealed, err = seal(r.ID); err != nil {
		return err
	}
	r.CreatedAt, r.UpdatedAt = tx.now, tx.now
	cols, err := r.columns()
	if err != nil {
		return err
	}
	n, err := insertNew(tx, "inbound", "project, name", []inboundColumns{cols})
	if err == nil && n == 0 {
		err = errTaken(inboundWord, r.Input.Name)
	}
	return err
}

// UpdateInbound changes an inbound trigger, which the transaction has locked.
func (tx *Tx) UpdateInbound(r InboundRow) error {
	_, err := tx.Exec(`UPDATE inbound SET enabled = ?, sealed = ?, old_until = ?, owner = ?, owner_key = ?, updated_at = ?
WHERE id = ?`, r.Enabled, r.Sealed, sqldb.Micros(r.OldUntil), r.Owner, r.OwnerKey, sqldb.Micros(tx.now), r.ID)
	return err
}

// DeleteInbound deletes an inbound trigger with its log.
func (tx *Tx) DeleteInbound(id int64) error {
	_, err := tx.Exec(`DELETE FROM inbound WHERE id = ?`, id)
	return err
}

// Inbounds lists the inbound triggers of a project after a name, by name.
func (tx *Tx) Inbounds(project hostler.ProjectID, after string, limit int) ([]InboundRow, error) {
	return tx.inbounds(`WHERE i.project = ? AND i.name > ? ORDER BY i.name LIMIT ?`, project, after, limit)
}

// Inbound returns an inbound trigger by name; nil when there is none.
func (tx *Tx) Inbound(project hostler.ProjectID, name string) (*InboundRow, error) {
	return first(tx.inbounds(`WHERE i.project = ? AND i.name = ?`, project, name))
}

// LockInbound is Inbound, locked for a change.
func (tx *Tx) LockInbound(project hostler.ProjectID, name string) (*InboundRow, error) {
	return first(tx.inbounds(`WHERE i.project = ? AND i.name = ? FOR UPDATE`, project, name))
}

// InboundByToken returns an inbound trigger by the hash of its URL; nil when there is none.
func (tx *Tx) InboundByToken(token string) (*InboundRow, error) {
	return first(tx.inbounds(`WHERE i.token = ?`, token))
}

// CountInbound returns how many inbound triggers a project has.
func (tx *Tx) CountInbound(project hostler.ProjectID) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM inbound WHERE project = ?`, []any{project}, &n)
	return n, err
}

func (tx *Tx) inbounds(where string, args ...any) ([]InboundRow, error) {
	var out []InboundRow
	err := scanRows(tx, withColumns[inboundColumns](`SELECT i.@cols,
COALESCE((SELECT u.name FROM users u WHERE u.id = i.owner), ''),
COALESCE((SELECT p.name FROM project p WHERE p.id = i.project), '') FROM inbound i `+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[inboundColumns]) error {
			var c inboundColumns
			var owner, project string
			if err := s.Scan(r, &c, &owner, &project); err != nil {
				return err
			}
			row := InboundRow{
				ID: c.ID, Project: c.Project, Enabled: c.Enabled, Token: c.Token, Sealed: c.Sealed,
				OldUntil: c.OldUntil, Owner: c.Owner, OwnerKey: c.OwnerKey, OwnerName: owner, ProjectName: project,
				Window: c.WindowAt, Received: c.WindowN, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
			}
			if err := json.Unmarshal(c.Spec, &row.Input); err != nil {
				return fmt.Errorf("decode the trigger %q: %w", c.Name, err)
			}
			out = append(out, row)
			return nil
		})
	return out, err
}

// InboundCallRow is a request to an inbound trigger.
type InboundCallRow struct {
	ID int64
	hostler.InboundCall
	// Digest is that of what must not be repeated; "" for a request that was refused.
	Digest string
}

type inboundCallColumns struct {
	ID       int64                `db:"id"`
	Inbound  int64                `db:"inbound"`
	At       time.Time            `db:"at"`
	State    hostler.InboundState `db:"state"`
	Event    string               `db:"event"`
	Delivery string               `db:"delivery"`
	Remote   string               `db:"remote"`
	Run      hostler.RunID        `db:"run"`
	Reason   string               `db:"reason"`
	Digest   string               `db:"digest"`
}

// How many requests the log of a trigger has: those with a digest, which must not be
// repeated, and the others, which cannot remove them.
const (
	inboundKept  = 5000
	inboundOther = 500
)

// RunOf is the run that a request started; 0 for none.
func (r *InboundCallRow) RunOf() hostler.RunID {
	if r == nil {
		return 0
	}
	return r.Run
}

// AddInboundCall records a request to a trigger, which the transaction has locked, and counts
// it in its minute.
func (tx *Tx) AddInboundCall(r *InboundRow, call InboundCallRow) error {
	minute := sqldb.Micros(tx.now.Truncate(time.Minute))
	if _, err := tx.Exec(`UPDATE inbound SET window_n = CASE WHEN window_at = ? THEN window_n + 1 ELSE 1 END, window_at = ?
WHERE id = ?`, minute, minute, r.ID); err != nil {
		return err
	}
	return tx.NoteInboundCall(r.ID, call)
}

// NoteInboundCall records a request to a trigger without counting it, unless the trigger was
// deleted, and deletes what is beyond the limits of its log.
func (tx *Tx) NoteInboundCall(inbound int64, call InboundCallRow) error {
	known, err := tx.exists(`SELECT id FROM inbound WHERE id = ? FOR SHARE`, inbound)
	if err != nil || !known {
		return err
	}
	id, err := tx.NewID()
	if err != nil {
		return err
	}
	if err := insert(tx, "inbound_call", []inboundCallColumns{{
		ID: id, Inbound: inbound, At: tx.now, State: call.State, Event: call.Event, Delivery: call.Delivery,
		Remote: call.Remote, Run: call.Run, Reason: encodeText(call.Reason), Digest: call.Digest,
	}}); err != nil {
		return err
	}
	kind, most := `digest = ''`, inboundOther
	if call.Digest != "" {
		kind, most = `digest <> ''`, inboundKept
	}
	_, err = tx.Exec(`DELETE FROM inbound_call WHERE inbound = ? AND `+kind+` AND id <=
(SELECT id FROM inbound_call WHERE inbound = ? AND `+kind+` ORDER BY id DESC LIMIT 1 OFFSET ?)`, inbound, inbound, most)
	return err
}

// InboundCallOf returns the request of a trigger with a digest; nil when there is none.
func (tx *Tx) InboundCallOf(id int64, digest string) (*InboundCallRow, error) {
	return first(tx.inboundCalls(`WHERE inbound = ? AND digest = ? AND digest <> ''`, id, digest))
}

// InboundCalls lists the requests of a trigger before an id, the newest first.
func (tx *Tx) InboundCalls(id, before int64, limit int) ([]InboundCallRow, error) {
	return tx.inboundCalls(`WHERE inbound = ? AND id < ? ORDER BY id DESC LIMIT ?`, id, before, limit)
}

func (tx *Tx) inboundCalls(where string, args ...any) ([]InboundCallRow, error) {
	var out []InboundCallRow
	err := queryEach(tx, `SELECT @cols FROM inbound_call `+where, args, func(c *inboundCallColumns) error {
		out = append(out, InboundCallRow{ID: c.ID, Digest: c.Digest, InboundCall: hostler.InboundCall{
			At: c.At, State: c.State, Event: c.Event, Delivery: c.Delivery, Remote: c.Remote, Run: c.Run,
			Reason: decodeText(c.Reason),
		}})
		return nil
	})
	return out, err
}

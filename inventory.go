package hostler

import (
	"encoding/json"
	"time"
)

// Project isolates data and resources. Names are unique; DefaultProject always
// exists.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// Asset is a host, a device or an endpoint that jobs work on. Its name is
// unique in its project.
type Asset struct {
	ID         AssetID           `json:"id"`
	Project    string            `json:"project"`
	Name       string            `json:"name"`
	Address    string            `json:"address" doc:"host name or IP address"`
	Port       int               `json:"port,omitempty" doc:"the port that check_port and SSH use; 0 means the action's default"`
	Kind       string            `json:"kind" doc:"host, device or endpoint"`
	Platform   string            `json:"platform,omitempty" doc:"such as linux, cisco_iosxe, huawei_vrp"`
	Labels     map[string]string `json:"labels,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Credential string            `json:"credential,omitempty" doc:"name of the credential that opens it"`
	DeviceKey  string            `json:"device_key" doc:"names the device; assets with one key share one lane (default: the address)"`
	HostKey    string            `json:"host_key" doc:"accept-new or strict"`
	Jump       string            `json:"jump,omitempty" doc:"name of the asset to connect through"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// Policies for an asset's SSH host key.
const (
	HostKeyAcceptNew = "accept-new" // the first key seen is pinned
	HostKeyStrict    = "strict"     // only a key accepted beforehand
)

// Credential is what opens an asset. Its secret is write-only: no answer of
// Hostler carries it.
type Credential struct {
	ID        CredentialID `json:"id"`
	Project   string       `json:"project"`
	Name      string       `json:"name"`
	Kind      string       `json:"kind" doc:"ssh_key, password or token"`
	Username  string       `json:"username,omitempty"`
	Version   int          `json:"version" doc:"grows with each change of the secret"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

// Kinds of credential.
const (
	CredentialSSHKey   = "ssh_key"
	CredentialPassword = "password"
	CredentialToken    = "token"
)

// Secret is a credential's open content. It exists in memory only, on the way
// to the action that uses it, and hides itself from fmt, slog and JSON.
type Secret struct {
	PrivateKey string // PEM, for ssh_key
	Passphrase string // of the private key, if it is encrypted
	Password   string // for password
	Token      string // for token
	Enable     string // enable password of a network device, beside Password
}

// String hides the content.
func (Secret) String() string { return "(secret)" }

// GoString hides the content from %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalJSON hides the content.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// Values lists the non-empty parts, for redaction.
func (s Secret) Values() []string {
	var vs []string
	for _, v := range []string{s.PrivateKey, s.Passphrase, s.Password, s.Token, s.Enable} {
		if v != "" {
			vs = append(vs, v)
		}
	}
	return vs
}

// HostKey is an SSH host key that was seen at an address, and what was decided
// about it.
type HostKey struct {
	ID          HostKeyID `json:"id"`
	Address     string    `json:"address" doc:"host:port as dialled"`
	Type        string    `json:"type" doc:"such as ssh-ed25519"`
	Fingerprint string    `json:"fingerprint" doc:"SHA256:… as ssh-keygen -l prints it"`
	PublicKey   string    `json:"public_key" doc:"authorized_keys form, without comment"`
	State       string    `json:"state" doc:"pinned, offered (refused, waits for accept) or revoked"`
	FirstSeen   time.Time `json:"first_seen"`
	DecidedBy   string    `json:"decided_by,omitempty" doc:"the user, or accept-new"`
}

// States of a host key.
const (
	HostKeyPinned  = "pinned"
	HostKeyOffered = "offered"
	HostKeyRevoked = "revoked"
)

// Queue is a named pool that workers serve. Queues belong to no project; an
// admin of any project with the right to manage queues changes them.
type Queue struct {
	Name       string    `json:"name"`
	Paused     bool      `json:"paused"`
	Limit      int       `json:"limit" doc:"jobs that may run at once; 0 means no limit"`
	MaxDepth   int       `json:"max_depth" doc:"jobs that may wait; 0 means no limit; more are refused with 429"`
	Queued     int       `json:"queued"`
	Running    int       `json:"running"`
	OldestWait float64   `json:"oldest_s" doc:"seconds that the oldest ready job has waited"`
	UpdatedAt  time.Time `json:"updated_at"`
}

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
	// Sessions are the connections to hosts that the worker keeps.
	Sessions    []HostSession `json:"sessions,omitempty"`
	CPUPercent  float64       `json:"cpu_percent" doc:"of one core, over the last heartbeats"`
	MemoryBytes int64         `json:"memory_bytes"`
}

// WorkerStopped answers POST /api/v1/workers/{id}/stop.
type WorkerStopped struct {
	Worker      Worker `json:"worker" doc:"as it was"`
	Interrupted int    `json:"interrupted" doc:"jobs that it ran; the on_lost of each decides"`
}

// SessionClose names the host to which a worker is to close its connections.
type SessionClose struct {
	Address string `json:"address" minLength:"1" maxLength:"253"`
}

// SessionClosed answers POST /api/v1/workers/{id}/close-session.
type SessionClosed struct {
	Interrupted int `json:"interrupted" doc:"jobs that the worker runs at the address"`
}

// HostSession is a connection to a host that a worker keeps between jobs.
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

// Role is what a user may do in a project. Each includes the ones before it.
type Role string

// The roles, weakest first. RoleNone is nobody's right.
const (
	RoleNone     Role = ""
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleApprover Role = "approver"
	RoleAdmin    Role = "admin"
)

// Roles lists the roles, weakest first.
func Roles() []Role { return []Role{RoleViewer, RoleOperator, RoleApprover, RoleAdmin} }

// User is a person or a service that calls Hostler.
type User struct {
	ID        UserID          `json:"id"`
	Name      string          `json:"name"`
	Disabled  bool            `json:"disabled"`
	Roles     map[string]Role `json:"roles" doc:"role by project name"`
	CreatedAt time.Time       `json:"created_at"`
}

// Key is an API key, without the secret part, which is shown once at creation.
type Key struct {
	ID        KeyID      `json:"id"`
	Name      string     `json:"name"`
	User      string     `json:"user"`
	Project   string     `json:"project" doc:"the project it acts in unless X-Project names another"`
	Role      Role       `json:"role" doc:"the most that the key may do, however much its user may"`
	Prefix    string     `json:"prefix" doc:"first characters, to recognise it by"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
}

// Audit is one row of the append-only record of what people and keys changed.
type Audit struct {
	ID      AuditID         `json:"id"`
	At      time.Time       `json:"at"`
	Project string          `json:"project,omitempty"`
	User    string          `json:"user"`
	Key     KeyID           `json:"key,omitzero"`
	Remote  string          `json:"remote,omitempty"`
	Verb    string          `json:"verb"`
	Object  string          `json:"object"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// AssetImport is what became, or in a dry run would become, of a file of assets.
type AssetImport struct {
	DryRun    bool          `json:"dry_run"`
	Applied   bool          `json:"applied" doc:"the changes were made; one row that fails keeps all of them from it"`
	Created   int           `json:"created"`
	Updated   int           `json:"updated"`
	Unchanged int           `json:"unchanged"`
	Skipped   int           `json:"skipped"`
	Failed    int           `json:"failed"`
	Rows      []ImportedRow `json:"rows"`
}

// ImportedRow is one row of a file of assets.
type ImportedRow struct {
	Line    int                  `json:"line" doc:"in the file"`
	Name    string               `json:"name"`
	Fate    string               `json:"fate" enum:"create,update,unchanged,skip,fail"`
	Changes map[string][2]string `json:"changes,omitempty" doc:"of an update: the old and the new value by field"`
	Errors  []FieldError         `json:"errors,omitempty"`
}

// Fates of a row.
const (
	FateCreate    = "create"
	FateUpdate    = "update"
	FateUnchanged = "unchanged"
	FateSkip      = "skip" // it exists, and on_conflict says skip
	FateFail      = "fail"
)

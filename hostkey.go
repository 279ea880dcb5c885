package hostler

import (
	"cmp"
	"net"
	"strconv"
	"time"
)

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

// SSHAddress is the host:port that SSH connects to, by which host keys are stored.
// Port 0 is port 22.
func SSHAddress(address string, port int) string {
	return net.JoinHostPort(address, strconv.Itoa(cmp.Or(port, 22)))
}

package hostler

import (
	"cmp"
	"net"
	"strconv"
	"time"
)

// HostKey is an SSH host key that a host offered at an address, and the decision about
// it.
type HostKey struct {
	ID          HostKeyID `json:"id"`
	Address     string    `json:"address" doc:"host:port as dialled"`
	Type        string    `json:"type" doc:"such as ssh-ed25519"`
	Fingerprint string    `json:"fingerprint" doc:"SHA256:… as ssh-keygen -l prints it"`
	PublicKey   string    `json:"public_key" doc:"in the form of authorized_keys, without a comment"`
	State       string    `json:"state" doc:"pinned, offered (refused until it is accepted) or revoked"`
	FirstSeen   time.Time `json:"first_seen"`
	DecidedBy   string    `json:"decided_by,omitempty" doc:"the user, or accept-new"`
}

// States of a host key.
const (
	HostKeyPinned  = "pinned"  // trusted
	HostKeyOffered = "offered" // refused; a person may accept it
	HostKeyRevoked = "revoked" // refused, even if it is offered again
)

// SSHAddress is the host:port that SSH connects to, by which host keys are stored.
// Port 0 is port 22.
func SSHAddress(address string, port int) string {
	return net.JoinHostPort(address, strconv.Itoa(cmp.Or(port, 22)))
}

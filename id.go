package hostler

import (
	"fmt"
	"strings"
	"time"
)

// IDBits is the number of bits an id uses. 53 bits keep the decimal form of an
// id a safe JSON number (RFC 8259 §6, IEEE 754 binary64).
const IDBits = 53

// idSeqBits is the number of low bits that number the ids of one second.
const idSeqBits = 21

// IDSeqMask masks the sequence part of an id.
const IDSeqMask = 1<<idSeqBits - 1

// MakeID makes the raw id for a second of the database's clock and a sequence number, of
// which only the low 21 bits count. Ids are ordered by time, to the second, and within a
// second by creation.
func MakeID(sec, seq int64) int64 { return sec<<idSeqBits | seq&IDSeqMask }

// IDTime is the second in which a raw id was made.
func IDTime(id int64) time.Time { return time.Unix(id>>idSeqBits, 0).UTC() }

// ID is an identifier of an object of the kind K. Each kind is a type of its own, so that
// the id of a job cannot be used for an asset. The zero ID means "none".
//
// The text form is the kind's prefix, an underscore and eleven digits of Crockford's
// base 32, such as job_01m8x4c7t2q. Ids sort by the second in which they were made, and
// their text forms sort in the same order.
type ID[K idKind] int64

type idKind interface{ prefix() string }

// The kinds of id.
type (
	ProjectID       = ID[projectKind]
	AssetID         = ID[assetKind]
	CredentialID    = ID[credentialKind]
	CredentialUseID = ID[credentialUseKind]
	JobID           = ID[jobKind]
	RunID           = ID[runKind]
	WorkerID        = ID[workerKind]
	UserID          = ID[userKind]
	KeyID           = ID[keyKind]
	HostKeyID       = ID[hostKeyKind]
	AuditID         = ID[auditKind]
	WebhookID       = ID[webhookKind]
	DeliveryID      = ID[deliveryKind]
	CustomRoleID    = ID[customRoleKind]
	ScheduleID      = ID[scheduleKind]
	FireID          = ID[fireKind]
	TemplateID      = ID[templateKind]
	TaskID          = ID[taskKind]
	ApprovalID      = ID[approvalKind]
	RunStepID       = ID[runStepKind]
	ChannelID       = ID[channelKind]
	HoldID          = ID[holdKind]
	ArtefactID      = ID[artefactKind]
)

type (
	projectKind       struct{}
	assetKind         struct{}
	credentialKind    struct{}
	credentialUseKind struct{}
	jobKind           struct{}
	runKind           struct{}
	workerKind        struct{}
	userKind          struct{}
	keyKind           struct{}
	hostKeyKind       struct{}
	auditKind         struct{}
	webhookKind       struct{}
	deliveryKind      struct{}
	customRoleKind    struct{}
	scheduleKind      struct{}
	fireKind          struct{}
	templateKind      struct{}
	taskKind          struct{}
	approvalKind      struct{}
	runStepKind       struct{}
	channelKind       struct{}
	holdKind          struct{}
	artefactKind      struct{}
)

func (projectKind) prefix() string       { return "prj" }
func (assetKind) prefix() string         { return "ast" }
func (credentialKind) prefix() string    { return "crd" }
func (credentialUseKind) prefix() string { return "use" }
func (jobKind) prefix() string           { return "job" }
func (runKind) prefix() string           { return "run" }
func (workerKind) prefix() string        { return "wrk" }
func (userKind) prefix() string          { return "usr" }
func (keyKind) prefix() string           { return "key" }
func (hostKeyKind) prefix() string       { return "hky" }
func (auditKind) prefix() string         { return "aud" }
func (webhookKind) prefix() string       { return "whk" }
func (deliveryKind) prefix() string      { return "dlv" }
func (customRoleKind) prefix() string    { return "rol" }
func (scheduleKind) prefix() string      { return "sch" }
func (fireKind) prefix() string          { return "fir" }
func (templateKind) prefix() string      { return "tpl" }
func (taskKind) prefix() string          { return "tsk" }
func (approvalKind) prefix() string      { return "apv" }
func (runStepKind) prefix() string       { return "stp" }
func (channelKind) prefix() string       { return "chn" }
func (holdKind) prefix() string          { return "hld" }
func (artefactKind) prefix() string      { return "art" }

// crockford is Crockford's base 32 alphabet in lower case: its byte order is
// its digit order.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

const idDigits = (IDBits + 4) / 5

// String returns the text form, such as "job_01m8x…"; "" for the zero ID.
func (id ID[K]) String() string {
	if id == 0 {
		return ""
	}
	var k K
	var b [idDigits]byte
	v := uint64(id)
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = crockford[v&31]
		v >>= 5
	}
	return k.prefix() + "_" + string(b[:])
}

// MarshalText implements encoding.TextMarshaler.
func (id ID[K]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is the
// zero ID.
func (id *ID[K]) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = 0
		return nil
	}
	v, err := ParseID[K](string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// IsZero reports whether the id is "none"; it makes omitzero work.
func (id ID[K]) IsZero() bool { return id == 0 }

// ParseID reads the text form of an id of kind K. The error is an *Error with
// CodeInvalid.
func ParseID[K idKind](s string) (ID[K], error) {
	var k K
	digits, ok := strings.CutPrefix(s, k.prefix()+"_")
	if !ok || len(digits) != idDigits {
		return 0, badID(k.prefix())
	}
	var v uint64
	for i := range len(digits) {
		d := strings.IndexByte(crockford, digits[i])
		if d < 0 {
			return 0, badID(k.prefix())
		}
		v = v<<5 | uint64(d)
	}
	if v == 0 || v >= 1<<IDBits {
		return 0, badID(k.prefix())
	}
	return ID[K](v), nil
}

func badID(prefix string) error {
	form := fmt.Sprintf("%s_ + %d", prefix, idDigits)
	return Errorf(CodeInvalid,
		"not an id of the form %s digits of base 32",
		"不是合法的 ID，应为 %s 位 base32 字符", form)
}

// Package auth decides which caller may do what. It is pure: no database, no clock.
//
// # Model
//
// A [Caller] is a user with the key of the request, acting in one project. A [Verb] is
// a kind of access. One table of [Rule]s has the lowest role for each verb, and whether
// the role is that in the acting project or in the default project, whose admins
// manage what belongs to no project.
//
//	RunJob:      operator, in the acting project
//	WriteQueue:  admin, in the default project
//
// # Invariants
//
// Everything that the table does not allow is refused: an unknown verb, an unknown role, a missing
// project. A key never has a higher role than its own, whatever its user has.
package auth

import (
	"maps"
	"slices"

	"hostler.dev/hostler"
)

// Caller is the user of a request, with its key and its project.
type Caller struct {
	User    string
	UserID  hostler.UserID
	Key     hostler.KeyID
	KeyRole hostler.Role // the highest role of the key in any project

	Project     hostler.ProjectID // the project that the call acts in
	ProjectName string
	// Default is the default project: a role in it controls access to what belongs to
	// no project.
	Default hostler.ProjectID
	// Roles are the user's roles; RoleIn caps them by the key.
	Roles map[hostler.ProjectID]hostler.Role
	// Projects names the projects in Roles.
	Projects map[hostler.ProjectID]string

	Remote string // address of the client, for the audit
	Lang   hostler.Lang
}

// RoleIn is the caller's role in a project: the lower one of the user's role and the
// key's.
func (c Caller) RoleIn(p hostler.ProjectID) hostler.Role {
	role := c.Roles[p]
	if !AtLeast(c.KeyRole, role) {
		role = c.KeyRole
	}
	if !AtLeast(role, hostler.RoleViewer) {
		return hostler.RoleNone
	}
	return role
}

// AtLeast reports whether a role includes another. Roles other than the four include
// none.
func AtLeast(have, need hostler.Role) bool {
	h, n := slices.Index(hostler.Roles(), have), slices.Index(hostler.Roles(), need)
	return h >= n && h >= 0
}

// Verb is a kind of access.
type Verb string

// The verbs. Those of what belongs to no project are marked "system".
const (
	ReadProject     Verb = "project.read"
	CreateProject   Verb = "project.create" // system
	ManageUsers     Verb = "user.manage"    // users of the acting project
	ManageAllUsers  Verb = "user.all"       // system: any user, and disabling
	OwnKeys         Verb = "key.own"
	ManageKeys      Verb = "key.manage" // see and revoke keys of the acting project
	ManageAllKeys   Verb = "key.all"    // system: keys of any user
	ReadAsset       Verb = "asset.read"
	WriteAsset      Verb = "asset.write"
	ReadHostKey     Verb = "hostkey.read"
	DecideHostKey   Verb = "hostkey.decide"
	ReadCredential  Verb = "credential.read" // never its secret
	WriteCredential Verb = "credential.write"
	UseCredential   Verb = "credential.use" // where its rules and allowed uses let it go
	ReadAction      Verb = "action.read"
	ReadJob         Verb = "job.read"
	RunJob          Verb = "job.run"
	ChangeJob       Verb = "job.change" // cancel, retry, resolve
	ReadQueue       Verb = "queue.read"
	WriteQueue      Verb = "queue.write" // system
	ReadWorker      Verb = "worker.read"
	StopWorker      Verb = "worker.stop" // system
	ReadAudit       Verb = "audit.read"
	ReadEvent       Verb = "event.read"   // of what the caller may read
	ReadWebhook     Verb = "webhook.read" // and deliveries, which hold results of jobs
	WriteWebhook    Verb = "webhook.write"
	SendDelivery    Verb = "delivery.send" // again, or as a test
)

// Rule is the lowest role for a verb, and the project in which it is required.
type Rule struct {
	Role   hostler.Role
	System bool // in the default project, not in the acting one
}

// rules is the one table of permissions.
var rules = map[Verb]Rule{
	ReadProject:     {Role: hostler.RoleViewer},
	CreateProject:   {Role: hostler.RoleAdmin, System: true},
	ManageUsers:     {Role: hostler.RoleAdmin},
	ManageAllUsers:  {Role: hostler.RoleAdmin, System: true},
	OwnKeys:         {Role: hostler.RoleViewer},
	ManageKeys:      {Role: hostler.RoleAdmin},
	ManageAllKeys:   {Role: hostler.RoleAdmin, System: true},
	ReadAsset:       {Role: hostler.RoleViewer},
	WriteAsset:      {Role: hostler.RoleOperator},
	ReadHostKey:     {Role: hostler.RoleViewer},
	DecideHostKey:   {Role: hostler.RoleAdmin},
	ReadCredential:  {Role: hostler.RoleViewer},
	WriteCredential: {Role: hostler.RoleAdmin},
	UseCredential:   {Role: hostler.RoleOperator},
	ReadAction:      {Role: hostler.RoleViewer},
	ReadJob:         {Role: hostler.RoleViewer},
	RunJob:          {Role: hostler.RoleOperator},
	ChangeJob:       {Role: hostler.RoleOperator},
	ReadQueue:       {Role: hostler.RoleViewer},
	WriteQueue:      {Role: hostler.RoleAdmin, System: true},
	ReadWorker:      {Role: hostler.RoleViewer},
	StopWorker:      {Role: hostler.RoleAdmin, System: true},
	ReadAudit:       {Role: hostler.RoleAdmin},
	ReadEvent:       {Role: hostler.RoleViewer},
	ReadWebhook:     {Role: hostler.RoleOperator},
	WriteWebhook:    {Role: hostler.RoleAdmin},
	SendDelivery:    {Role: hostler.RoleOperator},
}

// Verbs lists every verb, sorted.
func Verbs() []Verb { return slices.Sorted(maps.Keys(rules)) }

// RuleOf returns the rule for a verb; ok is false for an unknown verb.
func RuleOf(v Verb) (r Rule, ok bool) {
	r, ok = rules[v]
	return r, ok
}

// Allow reports whether the caller has access v to what belongs to project p. For a
// system verb, p is ignored.
func Allow(c Caller, v Verb, p hostler.ProjectID) bool {
	r, ok := rules[v]
	if !ok {
		return false
	}
	if r.System {
		p = c.Default
	}
	return p != 0 && AtLeast(c.RoleIn(p), r.Role)
}

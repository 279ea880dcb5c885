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
//
// # Limits
//
// A custom role is a built-in one with a [Limit]: the actions that it may run, and the
// assets, by their labels, that exist for it. A key may have a limit of its own. What
// would lead around a limit is refused as a whole: the verbs that the table marks need a
// role without limits, or one that includes every asset.
package auth

import (
	"cmp"
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
	// Scope is what the key permits; keys that it creates permit no more.
	Scope KeyScope
	// KeyLimit narrows the key, and UserLimits the user's role in each project.
	KeyLimit   Limit
	UserLimits map[hostler.ProjectID]Limit
	// KeyCustom and Custom name the custom roles of the key, and of the user by project.
	KeyCustom string
	Custom    map[hostler.ProjectID]string

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
	// Origin is what the user uses: cli or api. Runs record it.
	Origin string
	Lang   hostler.Lang
}

// RoleIn is the caller's role in a project: the lower one of the user's role and the
// key's.
func (c Caller) RoleIn(p hostler.ProjectID) hostler.Role {
	if len(c.Scope.Projects) > 0 && !slices.Contains(c.Scope.Projects, p) {
		return hostler.RoleNone
	}
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
func AtLeast(have, need hostler.Role) bool { return have.Includes(need) }

// Verb is a kind of access.
type Verb string

// The verbs. Those of what belongs to no project are marked "system".
const (
	ReadProject      Verb = "project.read"
	CreateProject    Verb = "project.create" // system
	WriteProject     Verb = "project.write"  // system: weight and limits
	ManageUsers      Verb = "user.manage"    // users of the acting project
	ManageAllUsers   Verb = "user.all"       // system: any user, and disabling
	OwnKeys          Verb = "key.own"
	ManageKeys       Verb = "key.manage" // see and revoke keys of the acting project
	ManageAllKeys    Verb = "key.all"    // system: keys of any user
	ReadRole         Verb = "role.read"
	WriteRole        Verb = "role.write"
	ReadAsset        Verb = "asset.read"
	WriteAsset       Verb = "asset.write"
	ShareDevice      Verb = "asset.share" // system: a device that another project has
	ReadHostKey      Verb = "hostkey.read"
	DecideHostKey    Verb = "hostkey.decide"
	ReadCredential   Verb = "credential.read" // never its secret
	WriteCredential  Verb = "credential.write"
	UseCredential    Verb = "credential.use" // where its rules and allowed uses let it go
	ReadAction       Verb = "action.read"
	ReadJob          Verb = "job.read"
	RunJob           Verb = "job.run"
	RunRestricted    Verb = "job.run_restricted" // system: actions on the server itself
	OverrideRule     Verb = "job.override_rule"  // run what command rules demand an approval for
	ReadCommandRule  Verb = "rule.read"
	WriteCommandRule Verb = "rule.write"
	ChangeJob        Verb = "job.change" // cancel, retry, resolve
	ReadSchedule     Verb = "schedule.read"
	WriteSchedule    Verb = "schedule.write"
	WriteCalendar    Verb = "calendar.write"
	ReadStats        Verb = "stats.read"
	ReadAlert        Verb = "alert.read"
	WriteAlert       Verb = "alert.write"   // rules and silences
	ReadTemplate     Verb = "template.read" // and tasks
	WriteTemplate    Verb = "template.write"
	ReadRun          Verb = "run.read" // of flows; and approvals
	ChangeRun        Verb = "run.change"
	DecideApproval   Verb = "approval.decide" // where its step names the caller
	ReadQueue        Verb = "queue.read"
	WriteQueue       Verb = "queue.write"  // system
	ReleaseLane      Verb = "lane.release" // system: see the holders of all projects, take it from them
	ReadHold         Verb = "hold.read"
	WriteHold        Verb = "hold.write"   // maintenance of assets and labels
	HoldProject      Verb = "hold.project" // all jobs of the project
	ReadWorker       Verb = "worker.read"
	StopWorker       Verb = "worker.stop" // system
	ReadAudit        Verb = "audit.read"
	VerifyAudit      Verb = "audit.verify" // system: the chain is one over all projects
	ReadEvent        Verb = "event.read"   // of what the caller may read
	ReadWebhook      Verb = "webhook.read" // and deliveries, which hold results of jobs
	WriteWebhook     Verb = "webhook.write"
	SendDelivery     Verb = "delivery.send"  // again, or as a test
	ManageSetAside   Verb = "delivery.aside" // system: events that could not be delivered
)

// Rule is the lowest role for a verb, and the project in which it is required.
type Rule struct {
	Role   hostler.Role
	System bool // in the default project, not in the acting one
	// Unlimited verbs need a role without any limit, AllAssets verbs one that includes
	// every asset of the project.
	Unlimited bool
	AllAssets bool
}

// rules is the one table of permissions.
var rules = map[Verb]Rule{
	ReadProject:      {Role: hostler.RoleViewer},
	CreateProject:    {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	WriteProject:     {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ManageUsers:      {Role: hostler.RoleAdmin, Unlimited: true},
	ManageAllUsers:   {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	OwnKeys:          {Role: hostler.RoleViewer},
	ManageKeys:       {Role: hostler.RoleAdmin, Unlimited: true},
	ManageAllKeys:    {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReadRole:         {Role: hostler.RoleViewer},
	WriteRole:        {Role: hostler.RoleAdmin, Unlimited: true},
	ReadAsset:        {Role: hostler.RoleViewer},
	WriteAsset:       {Role: hostler.RoleOperator, AllAssets: true},
	ShareDevice:      {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReadHostKey:      {Role: hostler.RoleViewer},
	DecideHostKey:    {Role: hostler.RoleAdmin, AllAssets: true},
	ReadCredential:   {Role: hostler.RoleViewer},
	WriteCredential:  {Role: hostler.RoleAdmin, Unlimited: true},
	UseCredential:    {Role: hostler.RoleOperator},
	ReadAction:       {Role: hostler.RoleViewer},
	ReadJob:          {Role: hostler.RoleViewer},
	RunJob:           {Role: hostler.RoleOperator},
	RunRestricted:    {Role: hostler.RoleAdmin, System: true},
	OverrideRule:     {Role: hostler.RoleAdmin, Unlimited: true},
	ReadCommandRule:  {Role: hostler.RoleViewer},
	WriteCommandRule: {Role: hostler.RoleAdmin, Unlimited: true},
	ChangeJob:        {Role: hostler.RoleOperator},
	ReadSchedule:     {Role: hostler.RoleViewer, AllAssets: true},
	WriteSchedule:    {Role: hostler.RoleOperator, AllAssets: true},
	WriteCalendar:    {Role: hostler.RoleAdmin, Unlimited: true},
	ReadStats:        {Role: hostler.RoleViewer, AllAssets: true},
	ReadAlert:        {Role: hostler.RoleViewer, AllAssets: true},
	WriteAlert:       {Role: hostler.RoleOperator, AllAssets: true},
	ReadTemplate:     {Role: hostler.RoleViewer},
	WriteTemplate:    {Role: hostler.RoleOperator, Unlimited: true},
	ReadRun:          {Role: hostler.RoleViewer, AllAssets: true},
	ChangeRun:        {Role: hostler.RoleOperator, AllAssets: true},
	DecideApproval:   {Role: hostler.RoleOperator, AllAssets: true},
	ReadQueue:        {Role: hostler.RoleViewer},
	WriteQueue:       {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReleaseLane:      {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReadHold:         {Role: hostler.RoleViewer, AllAssets: true},
	WriteHold:        {Role: hostler.RoleOperator, AllAssets: true},
	HoldProject:      {Role: hostler.RoleAdmin, Unlimited: true},
	ReadWorker:       {Role: hostler.RoleViewer},
	StopWorker:       {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReadAudit:        {Role: hostler.RoleAdmin, AllAssets: true},
	VerifyAudit:      {Role: hostler.RoleAdmin, System: true, Unlimited: true},
	ReadEvent:        {Role: hostler.RoleViewer, AllAssets: true},
	ReadWebhook:      {Role: hostler.RoleOperator, AllAssets: true},
	WriteWebhook:     {Role: hostler.RoleAdmin, Unlimited: true},
	SendDelivery:     {Role: hostler.RoleOperator, AllAssets: true},
	ManageSetAside:   {Role: hostler.RoleAdmin, System: true, Unlimited: true},
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
	return p != 0 && AtLeast(c.RoleIn(p), r.Role) && !r.refuses(c.LimitIn(p))
}

// refuses reports whether the rule refuses a role with these limits.
func (r Rule) refuses(l Limit) bool {
	return r.Unlimited && (l.LimitsActions() || l.LimitsAssets()) || r.AllAssets && l.LimitsAssets()
}

// Refusal is the error for a caller whom [Allow] refuses: it names what the verb
// requires.
func Refusal(c Caller, v Verb) *hostler.Error {
	if c.UserID == 0 {
		return hostler.Errorf(hostler.CodeUnauthenticated, "an API key is required", "需要 API 密钥")
	}
	r := rules[v]
	p, name := c.Project, c.ProjectName
	if r.System {
		p, name = c.Default, hostler.DefaultProject
	}
	have := c.RoleNameIn(p)
	switch {
	case AtLeast(c.RoleIn(p), r.Role):
		return hostler.Errorf(hostler.CodeForbidden,
			"this requires the role %s in the project %s without a limit to certain actions or assets; you have %s",
			"此操作需要项目 %[2]s 中不限动作和资产的 %[1]s 角色；当前角色为 %[3]s", r.Role, name, have)
	case r.System:
		return hostler.Errorf(hostler.CodeForbidden,
			"this requires the role %s in the project %s",
			"此操作需要项目 %[2]s 中的 %[1]s 角色", r.Role, name)
	}
	return hostler.Errorf(hostler.CodeForbidden,
		"this requires the role %s in the project %s; you have %s",
		"此操作需要项目 %[2]s 中的 %[1]s 角色；当前角色为 %[3]s", r.Role, name, cmp.Or(have, "none"))
}

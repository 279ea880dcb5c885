package app_test

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// verbs lists the permission that each use case requires. Every method of App that
// takes a Caller must be in it.
var verbs = map[string]auth.Verb{
	"Me": auth.OwnKeys, "Can": auth.OwnKeys, "Audit": auth.ReadAudit, "ExportAudit": auth.ReadAudit, "VerifyAudit": auth.VerifyAudit,
	"CustomRoles": auth.ReadRole, "CustomRole": auth.ReadRole, "CreateCustomRole": auth.WriteRole,
	"PutCustomRole": auth.WriteRole, "DeleteCustomRole": auth.WriteRole, "CancelJobsOfUser": auth.ManageAllUsers,
	"Projects": auth.ReadProject, "CreateProject": auth.CreateProject,
	"Project": auth.ReadProject, "ChangeProject": auth.WriteProject,
	"Lane": auth.ReadJob, "ReleaseLane": auth.ReleaseLane,
	"Users": auth.ManageUsers, "User": auth.ManageUsers, "CreateUser": auth.ManageUsers, "ChangeUser": auth.ManageUsers,
	"UserIDs": auth.ReadJob,
	"Keys":    auth.OwnKeys, "CreateKey": auth.OwnKeys, "RotateKey": auth.OwnKeys, "RevokeKey": auth.OwnKeys,

	"Assets": auth.ReadAsset, "Asset": auth.ReadAsset, "AssetAddresses": auth.ReadAsset, "ExportAssets": auth.ReadAsset,
	"CreateAsset": auth.WriteAsset, "PutAsset": auth.WriteAsset, "DeleteAsset": auth.WriteAsset,
	"ImportAssets": auth.WriteAsset,
	"HostKeys":     auth.ReadHostKey, "AcceptHostKey": auth.DecideHostKey, "RevokeHostKey": auth.DecideHostKey,
	"Credentials": auth.ReadCredential, "Credential": auth.ReadCredential, "CreateCredential": auth.WriteCredential,
	"AddCredentialRule": auth.WriteCredential, "ForbidCredential": auth.WriteCredential,
	"CredentialUses": auth.ReadCredential, "ConfirmAsset": auth.WriteCredential,
	"PutCredential": auth.WriteCredential, "DeleteCredential": auth.WriteCredential,

	"Actions": auth.ReadAction, "Action": auth.ReadAction, "ActionStats": auth.ReadJob,
	"RunJobs": auth.RunJob, "PlanJobs": auth.RunJob, "RunOutput": auth.ReadJob, "RunTask": auth.RunJob, "RunBatch": auth.RunJob,
	"Job": auth.ReadJob, "Jobs": auth.ReadJob, "FindJob": auth.ReadJob, "FindJobs": auth.ReadJob, "Run": auth.ReadJob,
	"Attempts": auth.ReadJob, "Waiting": auth.ReadJob, "ReadLog": auth.ReadJob, "TailLog": auth.ReadJob,
	"CancelJob": auth.ChangeJob, "RetryJob": auth.ChangeJob, "ResolveJob": auth.ChangeJob,
	"CancelJobs": auth.ChangeJob, "RetryJobs": auth.ChangeJob, "ResolveJobs": auth.ChangeJob,
	"CancelWaiting": auth.ChangeJob,

	"Queues": auth.ReadQueue, "Queue": auth.ReadQueue, "PutQueue": auth.WriteQueue,
	"PauseQueue": auth.WriteQueue, "ResumeQueue": auth.WriteQueue,
	"Dispatch": auth.ReadQueue, "HoldDispatch": auth.WriteQueue, "ReleaseDispatch": auth.WriteQueue,
	"Holds": auth.ReadHold, "CreateHold": auth.WriteHold, "EndHold": auth.WriteHold,
	"Workers": auth.ReadWorker, "StopWorkers": auth.StopWorker, "CloseSessions": auth.StopWorker,

	"Events": auth.ReadEvent, "OpenEvents": auth.ReadEvent,
	"Webhooks": auth.ReadWebhook, "Webhook": auth.ReadWebhook,
	"CreateWebhook": auth.WriteWebhook, "PutWebhook": auth.WriteWebhook, "DeleteWebhook": auth.WriteWebhook,
	"EnableWebhook": auth.WriteWebhook, "DisableWebhook": auth.WriteWebhook, "RotateWebhook": auth.WriteWebhook,
	"Channels": auth.ReadWebhook, "Channel": auth.ReadWebhook, "PreviewChannel": auth.ReadWebhook,
	"CreateChannel": auth.WriteWebhook, "PutChannel": auth.WriteWebhook, "DeleteChannel": auth.WriteWebhook,
	"TestChannel": auth.SendDelivery,
	"Deliveries":  auth.ReadWebhook, "Delivery": auth.ReadWebhook, "TestWebhook": auth.SendDelivery,
	"SetAside": auth.ManageSetAside, "RetrySetAside": auth.ManageSetAside, "DeleteSetAside": auth.ManageSetAside,
	"ResendDelivery": auth.SendDelivery, "ResendDeliveries": auth.SendDelivery,

	"Schedules": auth.ReadSchedule, "Schedule": auth.ReadSchedule, "Fires": auth.ReadSchedule,
	"NextFires": auth.ReadSchedule, "Forecast": auth.ReadSchedule, "NextFiresOf": auth.ReadSchedule, "RunSchedule": auth.RunJob, "RunNamed": auth.RunJob,
	"PutSchedule": auth.WriteSchedule, "DeleteSchedule": auth.WriteSchedule,
	"PauseSchedule": auth.WriteSchedule, "ResumeSchedule": auth.WriteSchedule,

	"Calendars": auth.ReadSchedule, "Calendar": auth.ReadSchedule,
	"Inbounds": auth.ReadSchedule, "Inbound": auth.ReadSchedule, "InboundCalls": auth.ReadSchedule,
	"CreateInbound": auth.WriteSchedule, "PauseInbound": auth.WriteSchedule, "ResumeInbound": auth.WriteSchedule,
	"RotateInbound": auth.WriteSchedule, "DeleteInbound": auth.WriteSchedule,
	"PutCalendar": auth.WriteCalendar, "ImportCalendar": auth.WriteCalendar, "DeleteCalendar": auth.WriteCalendar,

	"Stats": auth.ReadStats, "ExportStats": auth.ReadStats,

	"AlertRules": auth.ReadAlert, "AlertRule": auth.ReadAlert, "Alerts": auth.ReadAlert, "AlertSilences": auth.ReadAlert,
	"PutAlertRule": auth.WriteAlert, "DeleteAlertRule": auth.WriteAlert, "TestAlertRule": auth.WriteAlert,
	"SilenceAlerts": auth.WriteAlert, "UnsilenceAlerts": auth.WriteAlert,

	"Templates": auth.ReadTemplate, "Template": auth.ReadTemplate, "TemplateVersions": auth.ReadTemplate,
	"Tasks": auth.ReadTemplate, "Task": auth.ReadTemplate, "DeleteTask": auth.WriteTemplate,
	"Apply": auth.WriteTemplate, "RestoreTemplate": auth.WriteTemplate, "RetireTemplate": auth.WriteTemplate,
	"Runs": auth.ReadRun, "RunHosts": auth.ReadRun, "StartRun": auth.RunJob, "Rerun": auth.RunJob, "PlanRun": auth.RunJob,
	"PauseRun": auth.ChangeRun, "ResumeRun": auth.ChangeRun, "TerminateRun": auth.ChangeRun,
	"RetryFailed": auth.ChangeRun, "SkipStep": auth.ChangeRun,
	"Approvals": auth.ReadRun, "Approval": auth.ReadRun,
	"Approve": auth.DecideApproval, "Reject": auth.DecideApproval,

	"Artefacts": auth.ReadJob, "Artefact": auth.ReadJob, "JobArtefacts": auth.ReadJob, "OpenArtefact": auth.ReadJob,
	"DeleteArtefact": auth.ChangeJob,

	"CommandRules": auth.ReadCommandRule, "CommandRule": auth.ReadCommandRule, "TestCommand": auth.ReadCommandRule,
	"PutCommandRule": auth.WriteCommandRule, "ResetCommandRule": auth.WriteCommandRule,
}

// withoutCaller lists the methods of App that act on the authority of the process: its
// configuration or its data folder.
var withoutCaller = []string{
	"Authenticate", "Bootstrap", "CancelReplaced", "CheckJobs", "CheckLink", "ConfigureWebhook", "DecideLinked", "FireSchedules", "FollowUps", "InboundKnown", "KnownKeys", "LinkedApproval", "LocalAdminKey",
	"LocalContextKey", "ReceiveInbound", "RecordRefusal", "SeedSample",
	"StartDispatch", "StoreKind", "TaskFigures", "Vitals",
}

// TestUseCasesTakeACaller: a new method takes a Caller, or is listed deliberately.
func TestUseCasesTakeACaller(t *testing.T) {
	var got []string
	for m := range reflect.TypeFor[*app.App]().Methods() {
		if _, ok := verbs[m.Name]; !ok {
			got = append(got, m.Name)
		}
	}
	if diff := cmp.Diff(withoutCaller, got); diff != "" {
		t.Errorf("methods without a Caller (-want +got):\n%s", diff)
	}
}

// useCases lists the methods that take a Caller.
func useCases() []reflect.Method {
	var out []reflect.Method
	typ := reflect.TypeFor[*app.App]()
	for m := range typ.Methods() {
		takesCaller := m.Type.NumIn() > 2 && m.Type.In(2) == reflect.TypeFor[auth.Caller]()
		if takesCaller && !slices.Contains(withoutCaller, m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// call calls a use case with the zero value of every input.
func (w *env) call(ctx context.Context, m reflect.Method, c auth.Caller) error {
	in := []reflect.Value{reflect.ValueOf(w.App), reflect.ValueOf(ctx), reflect.ValueOf(c)}
	for i := 3; i < m.Type.NumIn(); i++ {
		in = append(in, reflect.Zero(m.Type.In(i)))
	}
	out := m.Func.Call(in)
	err, _ := reflect.TypeAssert[error](out[len(out)-1])
	return err
}

// TestPermissionComesFirst calls every use case as every role. A missing
// permission is refused as such, whatever else is wrong with the input.
func TestPermissionComesFirst(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		if got := len(useCases()); got != len(verbs) {
			t.Errorf("%d use cases, %d in the table", got, len(verbs))
		}
		for _, m := range useCases() {
			verb, ok := verbs[m.Name]
			if !ok {
				t.Errorf("%s is not in the table", m.Name)
				continue
			}
			wantCode(t, w.call(t.Context(), m, auth.Caller{}), hostler.CodeUnauthenticated)
			for _, role := range append(hostler.Roles(), hostler.RoleNone) {
				for _, c := range []auth.Caller{w.withRole(w.viewer, role), w.withRole(w.stranger, role)} {
					err := w.call(t.Context(), m, c)
					may := auth.Allow(c, verb, c.Project)
					if may == (hostler.CodeOf(err) == hostler.CodeForbidden) {
						t.Errorf("%s as %q in %s: %v", m.Name, role, c.ProjectName, err)
					}
					if hostler.CodeOf(err) == hostler.CodeInternal {
						t.Errorf("%s with empty input: %v", m.Name, err)
					}
				}
			}
		}
	})
}

// withRole is the caller with another role in its project, and a key for it.
func (w *env) withRole(c auth.Caller, r hostler.Role) auth.Caller {
	c.KeyRole = hostler.RoleAdmin
	c.Roles = map[hostler.ProjectID]hostler.Role{c.Project: r}
	return c
}

// TestForeignObjectsDoNotExist has an admin of another project name objects of
// this one, in every way that an object can be named.
func TestForeignObjectsDoNotExist(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx, c := t.Context(), w.stranger
		asset := w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		w.password(t, "root-pw", "canary")
		w.role(t, "web-ops", nil, map[string][]string{"env": {"test"}})
		if err := w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: asset.ID}, offer(t, 1)); err != nil {
			t.Fatal(err)
		}
		hostKey := must(w.HostKeys(ctx, w.admin, "web1"))(t)[0].ID
		file := w.artefact(t, "web1")
		made := w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}})
		job, key := made.Jobs[0], must(w.Keys(ctx, w.viewer, hostler.Page{}))(t).Items[0].ID
		chat := must(w.CreateChannel(t.Context(), w.admin, hostler.ChannelInput{
			Name: "chat", Kind: hostler.ChannelSlack, URL: "https://hooks.slack.com/services/" + canary,
		}))(t)
		hook := w.hook(t, "hook")
		ping := must(w.TestWebhook(ctx, w.operator, "hook"))(t)
		resolve := hostler.ResolveInput{State: hostler.StateFailed}
		input := hostler.AssetInput{Name: "x", Address: "192.0.2.7"}
		secretInput := hostler.CredentialInput{Kind: "password", Password: "p"}

		calls := map[string]func() error{
			"User":       func() error { return second(w.User(ctx, c, "vera")) },
			"ChangeUser": func() error { return second(w.ChangeUser(ctx, c, "vera", hostler.UserChange{})) },
			"CreateUser": func() error {
				return second(
					w.CreateUser(
						ctx,
						c,
						hostler.UserInput{Name: "eve", Roles: map[string]hostler.Role{"default": "admin"}},
					),
				)
			},
			"CustomRole": func() error { return second(w.CustomRole(ctx, c, "web-ops")) },
			"PutCustomRole": func() error {
				in := hostler.CustomRoleInput{Base: hostler.RoleViewer, Actions: []string{"x"}}
				return second(w.PutCustomRole(ctx, c, "web-ops", in))
			},
			"DeleteCustomRole": func() error { return second(w.DeleteCustomRole(ctx, c, "web-ops")) },
			"CreateKey":        func() error { return second(w.CreateKey(ctx, c, hostler.KeyInput{Name: "k", Project: "default"})) },
			"RotateKey":        func() error { return second(w.RotateKey(ctx, c, key)) },
			"RevokeKey":        func() error { return second(w.RevokeKey(ctx, c, key)) },
			"Asset":            func() error { return second(w.Asset(ctx, c, asset.ID.String())) },
			"PutAsset":         func() error { return second(w.PutAsset(ctx, c, asset.ID.String(), input)) },
			"DeleteAsset":      func() error { return second(w.DeleteAsset(ctx, c, asset.ID.String())) },
			"HostKeys":         func() error { return second(w.HostKeys(ctx, c, asset.ID.String())) },
			"AcceptHostKey":    func() error { return second(w.AcceptHostKey(ctx, c, asset.ID.String(), hostKey)) },
			"RevokeHostKey":    func() error { return second(w.RevokeHostKey(ctx, c, asset.ID.String(), hostKey)) },
			"Credential":       func() error { return second(w.Credential(ctx, c, "root-pw")) },
			"PutCredential":    func() error { return second(w.PutCredential(ctx, c, "root-pw", secretInput)) },
			"DeleteCredential": func() error { return w.DeleteCredential(ctx, c, "root-pw") },
			"AddCredentialRule": func() error {
				return second(w.AddCredentialRule(ctx, c, "root-pw", hostler.CredentialRuleInput{
					Uses: []string{hostler.UseSSH}, Addresses: []string{"*"},
				}))
			},
			"ForbidCredential": func() error { return w.ForbidCredential(ctx, c, "root-pw", "1") },
			"CredentialUses":   func() error { return second(w.CredentialUses(ctx, c, "root-pw", hostler.Page{})) },
			"ConfirmAsset":     func() error { return second(w.ConfirmAsset(ctx, c, asset.ID.String())) },
			"PlanJobs": func() error {
				return second(w.PlanJobs(ctx, c, hostler.JobRequest{Action: "check_port", Assets: []string{asset.ID.String()}}))
			},
			"RunJobs": func() error {
				return second(
					w.RunJobs(
						ctx,
						c,
						hostler.JobRequest{Action: "check_port", Assets: []string{asset.ID.String()}},
						"",
					),
				)
			},
			"RunTask": func() error {
				if err := second(w.RunTask(ctx, c, asset.ID, "no_such_action", nil)); hostler.CodeOf(
					err,
				) != hostler.CodeNotFound {
					return err
				}
				return second(w.RunTask(ctx, c, asset.ID, "check_port", nil))
			},
			"Job":            func() error { return second(w.Job(ctx, c, job)) },
			"Attempts":       func() error { return second(w.Attempts(ctx, c, job)) },
			"Waiting":        func() error { return second(w.Waiting(ctx, c, job)) },
			"JobArtefacts":   func() error { return second(w.JobArtefacts(ctx, c, job)) },
			"Artefact":       func() error { return second(w.Artefact(ctx, c, file.ID)) },
			"OpenArtefact":   func() error { _, _, err := w.OpenArtefact(ctx, c, file.ID); return err },
			"DeleteArtefact": func() error { return w.DeleteArtefact(ctx, c, file.ID) },
			"ReadLog":        func() error { _, _, err := w.ReadLog(ctx, c, job, 0, 10); return err },
			"TailLog":        func() error { return second(w.TailLog(ctx, c, job, 10)) },
			"CancelJob":      func() error { return second(w.CancelJob(ctx, c, job)) },
			"RetryJob":       func() error { return second(w.RetryJob(ctx, c, job, "")) },
			"ResolveJob":     func() error { return second(w.ResolveJob(ctx, c, job, resolve)) },
			"Run":            func() error { return second(w.Run(ctx, c, made.Run)) },
			"Project":        func() error { return second(w.Project(ctx, c, "default")) },
			"Lane":           func() error { return second(w.Lane(ctx, c, "192.0.2.1")) },

			"Webhook":        func() error { return second(w.Webhook(ctx, c, hook.ID.String())) },
			"PutWebhook":     func() error { return second(w.PutWebhook(ctx, c, "hook", hostler.WebhookInput{Name: "hook"})) },
			"EnableWebhook":  func() error { return second(w.EnableWebhook(ctx, c, "hook")) },
			"DisableWebhook": func() error { return second(w.DisableWebhook(ctx, c, hook.ID.String())) },
			"RotateWebhook":  func() error { return second(w.RotateWebhook(ctx, c, "hook", hostler.WebhookRotation{})) },
			"DeleteWebhook":  func() error { return w.DeleteWebhook(ctx, c, "hook") },
			"TestWebhook":    func() error { return second(w.TestWebhook(ctx, c, "hook")) },
			"Channel":        func() error { return second(w.Channel(ctx, c, chat.ID.String())) },
			"PutChannel":     func() error { return second(w.PutChannel(ctx, c, "chat", hostler.ChannelInput{Name: "chat"})) },
			"DeleteChannel":  func() error { return w.DeleteChannel(ctx, c, "chat") },
			"TestChannel":    func() error { return second(w.TestChannel(ctx, c, chat.ID.String())) },
			"PreviewChannel": func() error { return second(w.PreviewChannel(ctx, c, "chat", hostler.ChannelPreview{})) },
			"Delivery":       func() error { return second(w.Delivery(ctx, c, ping.ID)) },
			"ResendDelivery": func() error { return second(w.ResendDelivery(ctx, c, ping.ID)) },
		}
		flows := w.flows(t)
		maps.Copy(calls, w.flowCalls(ctx, c, flows))
		must(w.PutCalendar(ctx, w.admin, "freeze", hostler.CalendarInput{}))(t)
		must(w.PutAlertRule(ctx, w.operator, "nightly", hostler.AlertRuleInput{Kind: hostler.AlertUnknown}))(t)
		silence := hostler.AlertSilenceInput{Reason: "nightly", For: hostler.Duration(time.Hour)}
		must(w.SilenceAlerts(ctx, w.operator, "nightly", silence))(t)
		maps.Copy(calls, map[string]func() error{
			"AlertRule":       func() error { return second(w.AlertRule(ctx, c, "nightly")) },
			"DeleteAlertRule": func() error { return w.DeleteAlertRule(ctx, c, "nightly") },
			"TestAlertRule":   func() error { return second(w.TestAlertRule(ctx, c, "nightly")) },
			"SilenceAlerts":   func() error { return second(w.SilenceAlerts(ctx, c, "nightly", silence)) },
			"UnsilenceAlerts": func() error { return w.UnsilenceAlerts(ctx, c, "nightly", hostler.AlertTarget{}) },
		})
		must(w.CreateInbound(ctx, w.admin, hostler.InboundInput{Name: "pushed", Kind: hostler.InboundGitea, Task: "roll-all"}))(t)
		maps.Copy(calls, w.scheduleCalls(ctx, c, w.put(t, w.admin, "nightly", everyMinute())))
		maps.Copy(calls, w.ruleCalls(t, c))
		maps.Copy(calls, w.holdCalls(t, c))
		// These name no object, or only what belongs to no project; listings and
		// bulk changes are looked at below.
		other := strings.FieldsSeq(
			`Me Can CustomRoles CreateCustomRole CancelJobsOfUser Projects CreateProject ChangeProject ReleaseLane Users Keys Assets CreateAsset Credentials CreateCredential
			Actions Action Jobs CancelJobs RetryJobs ResolveJobs Queues Queue PutQueue PauseQueue ResumeQueue Dispatch HoldDispatch ReleaseDispatch Workers Audit ExportAudit VerifyAudit UserIDs Events OpenEvents ImportAssets ExportAssets StopWorkers CloseSessions
			Webhooks CreateWebhook Channels CreateChannel Deliveries ResendDeliveries FindJob FindJobs CancelWaiting RunBatch SetAside RetrySetAside DeleteSetAside AssetAddresses ActionStats
			Schedules NextFires Holds Templates Tasks Runs Approvals CommandRules TestCommand Stats ExportStats Calendars
			Alerts AlertRules AlertSilences PutAlertRule Inbounds CreateInbound Artefacts Forecast`,
		)
		for name := range other {
			calls[name] = nil
		}
		for _, m := range useCases() {
			fn, ok := calls[m.Name]
			if !ok {
				t.Errorf("%s is not in the table", m.Name)
			}
			if fn == nil {
				continue
			}
			if err := fn(); hostler.CodeOf(err) != hostler.CodeNotFound {
				t.Errorf("%s of a foreign object: %v, want not found", m.Name, err)
			}
		}
		w.strangerSeesNothing(t, job, made.Run)
		w.flowsAreUnchanged(t, flows)
		if j := must(w.Job(ctx, w.viewer, job))(t); j.State != hostler.StateQueued {
			t.Errorf("the job is %s by now", j.State)
		}
		must(w.Asset(ctx, w.viewer, "web1"))(t)
		must(w.Artefact(ctx, w.viewer, file.ID))(t)
	})
}

// artefact stores an artefact of a job on an asset.
func (w *env) artefact(t *testing.T, asset string) hostler.Artefact {
	t.Helper()
	w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{asset}})
	k := w.worker(t)
	leases := k.lease(t, 1)
	art, err := w.h.Store.StoreArtefact(t.Context(), k.id, leases[0].LeaseRef,
		hostler.ArtefactInput{Name: "report.txt", MediaType: "text/plain"},
		store.ArtefactLimits{File: 1 << 20, Job: 1 << 20, Project: 1 << 20}, strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	k.finish(t, leases, hostler.OutcomeSucceeded)
	return art
}

func second[T any](_ T, err error) error { return err }

// flowObjects are a template and a task with a run that waits for an approval.
type flowObjects struct {
	run      hostler.RunID
	approval hostler.ApprovalID
}

const flowDocuments = `
apiVersion: hostler/v1
kind: Template
name: roll
steps:
  - {id: look, action: check_port, target: {assets: [web1]}}
  - {id: agree, approval: {title: go on}}
---
apiVersion: hostler/v1
kind: Task
name: roll-all
template: roll
`

// flows makes flowObjects in the default project.
func (w *env) flows(t *testing.T) flowObjects {
	t.Helper()
	must(w.Apply(t.Context(), w.admin, hostler.ApplyInput{Documents: flowDocuments}))(t)
	run := must(w.StartRun(t.Context(), w.operator, hostler.RunRequest{Task: "roll-all"}, ""))(t)
	w.tx(t, func(tx *store.Tx) error {
		steps, err := tx.RunSteps(run.Run)
		if err != nil {
			return err
		}
		err = tx.InsertApproval(store.ApprovalRow{
			Project: w.admin.Project, Run: run.Run, Step: steps[1].ID, Title: "go on", Approvers: `["role:admin"]`,
			Quorum: 1, Requester: w.operator.UserID,
		})
		if err != nil {
			return err
		}
		asked, err := tx.PreparingApprovals(1)
		if err != nil {
			return err
		}
		_, err = tx.SetPlan(asked[0].ID, strings.Repeat("0", 64), "{}")
		return err
	})
	asked := must(w.Approvals(t.Context(), w.admin, app.ApprovalFilter{Run: run.Run}, hostler.Page{}))(t).Items
	if len(asked) != 1 {
		t.Fatalf("approvals: %v", asked)
	}
	return flowObjects{run: run.Run, approval: asked[0].ID}
}

// flowCalls name the objects of flows as c.
func (w *env) flowCalls(ctx context.Context, c auth.Caller, o flowObjects) map[string]func() error {
	decision := hostler.DecisionInput{Digest: strings.Repeat("0", 64), Comment: "no"}
	byTask, byTemplate := hostler.RunRequest{Task: "roll-all"}, hostler.RunRequest{Template: "roll"}
	return map[string]func() error{
		"Apply":            nil, // see flowsAreUnchanged
		"Template":         func() error { return second(w.Template(ctx, c, "roll", 1)) },
		"TemplateVersions": func() error { return second(w.TemplateVersions(ctx, c, "roll", hostler.Page{})) },
		"RestoreTemplate":  func() error { return second(w.RestoreTemplate(ctx, c, "roll", 1)) },
		"RetireTemplate":   func() error { return second(w.RetireTemplate(ctx, c, "roll", 1)) },
		"Task":             func() error { return second(w.Task(ctx, c, "roll-all")) },
		"DeleteTask":       func() error { return w.DeleteTask(ctx, c, "roll-all") },
		"StartRun": func() error {
			if err := second(w.StartRun(ctx, c, byTemplate, "")); hostler.CodeOf(err) != hostler.CodeNotFound {
				return err
			}
			return second(w.StartRun(ctx, c, byTask, ""))
		},
		"PlanRun": func() error {
			if err := second(w.PlanRun(ctx, c, byTemplate)); hostler.CodeOf(err) != hostler.CodeNotFound {
				return err
			}
			return second(w.PlanRun(ctx, c, byTask))
		},
		"RunOutput": func() error {
			l, err := w.RunOutput(ctx, c, app.OutputFilter{Run: o.run}, hostler.Page{})
			if err == nil && len(l.Items) == 0 {
				err = hostler.NotFound(hostler.Text{}, "")
			}
			return err
		},
		"RunHosts":     func() error { return second(w.RunHosts(ctx, c, o.run, "look", hostler.Page{})) },
		"PauseRun":     func() error { return second(w.PauseRun(ctx, c, o.run)) },
		"ResumeRun":    func() error { return second(w.ResumeRun(ctx, c, o.run)) },
		"TerminateRun": func() error { return second(w.TerminateRun(ctx, c, o.run)) },
		"RetryFailed":  func() error { return second(w.RetryFailed(ctx, c, o.run)) },
		"Rerun":        func() error { return second(w.Rerun(ctx, c, app.RerunRequest{Run: o.run})) },
		"SkipStep": func() error {
			return second(w.SkipStep(ctx, c, o.run, "look", hostler.SkipInput{Reason: "why not"}))
		},
		"Approval": func() error { return second(w.Approval(ctx, c, o.approval)) },
		"Approve":  func() error { return second(w.Approve(ctx, c, o.approval, decision)) },
		"Reject":   func() error { return second(w.Reject(ctx, c, o.approval, decision)) },
	}
}

// scheduleCalls name a schedule, and what it names, as c.
func (w *env) scheduleCalls(ctx context.Context, c auth.Caller, s hostler.Schedule) map[string]func() error {
	id := s.ID.String()
	return map[string]func() error{
		"Schedule":       func() error { return second(w.Schedule(ctx, c, id)) },
		"PutSchedule":    func() error { return second(w.PutSchedule(ctx, c, "nightly", everyMinute())) },
		"DeleteSchedule": func() error { return w.DeleteSchedule(ctx, c, id) },
		"PauseSchedule":  func() error { return second(w.PauseSchedule(ctx, c, "nightly")) },
		"ResumeSchedule": func() error { return second(w.ResumeSchedule(ctx, c, id)) },
		"RunSchedule": func() error {
			return second(w.RunSchedule(ctx, c, app.RunScheduleRequest{Schedule: id}))
		},
		"Calendar":       func() error { return second(w.Calendar(ctx, c, "freeze")) },
		"ImportCalendar": func() error { return second(w.ImportCalendar(ctx, c, "freeze", hostler.CalendarFile{})) },
		"DeleteCalendar": func() error { return w.DeleteCalendar(ctx, c, "freeze") },
		"Inbound":        func() error { return second(w.Inbound(ctx, c, "pushed")) },
		"InboundCalls":   func() error { return second(w.InboundCalls(ctx, c, "pushed", hostler.Page{})) },
		"PauseInbound":   func() error { return second(w.PauseInbound(ctx, c, "pushed")) },
		"ResumeInbound":  func() error { return second(w.ResumeInbound(ctx, c, "pushed")) },
		"DeleteInbound":  func() error { return w.DeleteInbound(ctx, c, "pushed") },
		"RotateInbound": func() error {
			return second(w.RotateInbound(ctx, c, "pushed", hostler.InboundRotation{}))
		},
		"PutCalendar": nil, // makes one of the caller's own
		"RunNamed":    func() error { return second(w.RunNamed(ctx, c, "nightly", nil, "")) },
		"Fires":       func() error { return second(w.Fires(ctx, c, id, hostler.Page{})) },
		"NextFiresOf": func() error {
			return second(w.NextFiresOf(ctx, c, app.NextFiresQuery{Schedule: "nightly"}))
		},
	}
}

// ruleCalls name a command rule of the default project as c. Writing a rule names none:
// it is one of the writer's own project.
func (w *env) ruleCalls(t *testing.T, c auth.Caller) map[string]func() error {
	t.Helper()
	ctx, in := t.Context(), hostler.CommandRuleInput{Effect: hostler.RuleRefuse, Commands: []string{"frobnicate all"}}
	must(w.PutCommandRule(ctx, w.admin, "no-frobnicate", in))(t)
	return map[string]func() error{
		"CommandRule":      func() error { return second(w.CommandRule(ctx, c, "no-frobnicate")) },
		"ResetCommandRule": func() error { return second(w.ResetCommandRule(ctx, c, "no-frobnicate")) },
		"PutCommandRule":   nil, // see flowsAreUnchanged
	}
}

// ownRules are the rules that a project has made or changed.
func ownRules(all []hostler.CommandRule) []hostler.CommandRule {
	return slices.DeleteFunc(all, func(r hostler.CommandRule) bool { return r.Builtin && !r.Changed })
}

// flowsAreUnchanged looks at what a stranger named, also after it has made a rule, a
// template and a schedule of the same names.
func (w *env) flowsAreUnchanged(t *testing.T, o flowObjects) {
	t.Helper()
	ctx, c := t.Context(), w.stranger
	look := func() map[string]any {
		return map[string]any{
			"rules":    must(w.CommandRules(ctx, w.viewer))(t),
			"template": must(w.Template(ctx, w.viewer, "roll", 0))(t),
			"task":     must(w.Task(ctx, w.viewer, "roll-all"))(t),
			"schedule": must(w.Schedule(ctx, w.viewer, "nightly"))(t),
			"fires":    must(w.Fires(ctx, w.viewer, "nightly", hostler.Page{}))(t),
			"run":      must(w.Run(ctx, w.viewer, o.run))(t),
			"approval": must(w.Approval(ctx, w.viewer, o.approval))(t),
		}
	}
	before := look()
	if r, ok := before["run"].(hostler.Run); !ok || r.State != hostler.RunPending || r.Steps[0].State != hostler.StepPending {
		t.Errorf("the run by now: %+v", before["run"])
	}
	if s, ok := before["schedule"].(hostler.Schedule); !ok || !s.Enabled {
		t.Errorf("the schedule by now: %+v", before["schedule"])
	}
	task := flowDocuments[strings.Index(flowDocuments, "---"):]
	wantCode(t, second(w.Apply(ctx, c, hostler.ApplyInput{Documents: task})), hostler.CodeInvalid) // no such template
	for _, name := range []string{"no-frobnicate", "no-other"} {
		must(w.PutCommandRule(ctx, c, name, hostler.CommandRuleInput{Effect: hostler.RuleOff, Commands: []string{"x"}}))(t)
	}
	docs := "apiVersion: hostler/v1\nkind: Template\nname: roll\nsteps: [{id: a, wait: 1s}]\n" +
		"---\napiVersion: hostler/v1\nkind: Task\nname: roll-all\ntemplate: roll\n"
	must(w.Apply(ctx, c, hostler.ApplyInput{Documents: docs}))(t)
	if err := w.DeleteTask(ctx, c, "roll-all"); err != nil {
		t.Error(err)
	}
	w.put(t, c, "nightly", everyMinute(func(in *hostler.ScheduleInput) {
		in.Task = hostler.ScheduleTask{Action: "ping"}
	}))
	if err := w.DeleteSchedule(ctx, c, "nightly"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, look()); diff != "" {
		t.Errorf("a stranger changed (-before +after):\n%s", diff)
	}
}

// strangerSeesNothing looks for what belongs to the default project in the
// listings and bulk changes of another one's admin.
func (w *env) strangerSeesNothing(t *testing.T, job hostler.JobID, run hostler.RunID) {
	t.Helper()
	ctx, c, p := t.Context(), w.stranger, hostler.Page{}
	all := map[string]any{
		"subscribed":  must(w.Webhooks(ctx, c, p))(t).Items,
		"deliveries":  must(w.Deliveries(ctx, c, hostler.DeliveryFilter{}, p))(t).Items,
		"projects":    must(w.Projects(ctx, c, p))(t).Items,
		"users":       must(w.Users(ctx, c, p))(t).Items,
		"keys":        must(w.Keys(ctx, c, p))(t).Items,
		"assets":      must(w.Assets(ctx, c, "", p))(t).Items,
		"credentials": must(w.Credentials(ctx, c, p))(t).Items,
		"jobs":        must(w.Jobs(ctx, c, hostler.JobFilter{Run: run}, p))(t).Items,
		"audit":       must(w.Audit(ctx, c, hostler.AuditFilter{}, p))(t).Items,
		"found job":   must(w.FindJob(ctx, c, job))(t),
		"found":       must(w.FindJobs(ctx, c, app.JobSearch{Host: "web1"}, p))(t),
		"in the lane": must(w.FindJobs(ctx, c, app.JobSearch{Lane: "192.0.2.1"}, p))(t),
		"withdrawn":   must(w.CancelWaiting(ctx, c, []hostler.JobID{job}, app.JobSearch{}))(t),
		"emptied":     must(w.CancelWaiting(ctx, c, nil, app.JobSearch{Host: "web1"}))(t),
		"counted":     must(w.ActionStats(ctx, c))(t),
		"stats":       must(w.Stats(ctx, c, hostler.StatsQuery{By: hostler.StatsByUser}))(t).Items,
		"addresses":   must(w.AssetAddresses(ctx, c, "web2"))(t),
		"schedules":   must(w.Schedules(ctx, c, p))(t).Items,
		"templates":   must(w.Templates(ctx, c, p))(t).Items,
		"tasks":       must(w.Tasks(ctx, c, p))(t).Items,
		"runs":        must(w.Runs(ctx, c, app.RunFilter{}, p))(t).Items,
		"approvals":   must(w.Approvals(ctx, c, app.ApprovalFilter{}, p))(t).Items,
		"of a run":    must(w.Approvals(ctx, c, app.ApprovalFilter{Run: run}, p))(t).Items,
		"calendars":   must(w.Calendars(ctx, c))(t),
		"alert rules": must(w.AlertRules(ctx, c))(t),
		"alerts":      must(w.Alerts(ctx, c, hostler.AlertFilter{}, p))(t).Items,
		"silences":    must(w.AlertSilences(ctx, c))(t),
		"triggers":    must(w.Inbounds(ctx, c, p))(t).Items,
		"rules":       ownRules(must(w.CommandRules(ctx, c))(t)),
		"matched":     must(w.TestCommand(ctx, c, hostler.CommandTest{Command: "frobnicate all"}))(t),
		"cancelled":   must(w.CancelJobs(ctx, c, hostler.BulkRequest{Filter: &hostler.JobFilter{Run: run}}))(t),
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"default", "web1", "root-pw", "vera", "ops.example.com", "frobnicate", "roll", "nightly", "pushed", job.String(), w.viewer.Key.String()} {
		if strings.Contains(string(text), leak) {
			t.Errorf("a stranger sees %q in %s", leak, text)
		}
	}
	for _, b := range []func() (hostler.BulkResult, error){
		func() (hostler.BulkResult, error) {
			return w.CancelJobs(ctx, c, hostler.BulkRequest{IDs: []hostler.JobID{job}})
		},
		func() (hostler.BulkResult, error) {
			return w.RetryJobs(ctx, c, hostler.BulkRequest{IDs: []hostler.JobID{job}}, "")
		},
		func() (hostler.BulkResult, error) {
			return w.ResolveJobs(ctx, c, hostler.BulkRequest{IDs: []hostler.JobID{job}, State: hostler.StateFailed})
		},
	} {
		res := must(b())(t)
		if len(res.Items) != 1 || res.Items[0].OK || !strings.Contains(res.Items[0].Error.EN, "does not exist") {
			t.Errorf("a bulk change of a foreign job: %+v", res.Items)
		}
	}
}

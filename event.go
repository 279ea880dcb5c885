package hostler

import (
	"encoding/json"
	"strings"
	"time"
)

// EventType names a kind of event: the object, a dot, and what happened to it, such as
// asset.created.
type EventType string

// The types of event. Those of a job are "job." and the job's new state, except for
// job.started.
const (
	EventJobScheduled EventType = "job.scheduled"
	EventJobQueued    EventType = "job.queued"
	EventJobStarted   EventType = "job.started"
	EventJobSucceeded EventType = "job.succeeded"
	EventJobFailed    EventType = "job.failed"
	EventJobCancelled EventType = "job.cancelled"
	EventJobExpired   EventType = "job.expired"
	EventJobUnknown   EventType = "job.unknown"

	EventAssetCreated       EventType = "asset.created"
	EventAssetUpdated       EventType = "asset.updated"
	EventAssetDeleted       EventType = "asset.deleted"
	EventAssetsImported     EventType = "asset.imported"
	EventHostKeyPinned      EventType = "hostkey.pinned"
	EventHostKeyOffered     EventType = "hostkey.offered"
	EventHostKeyAccepted    EventType = "hostkey.accepted"
	EventHostKeyRevoked     EventType = "hostkey.revoked"
	EventCredentialCreated  EventType = "credential.created"
	EventCredentialUpdated  EventType = "credential.updated"
	EventCredentialDeleted  EventType = "credential.deleted"
	EventCommandRefused     EventType = "command.refused"
	EventCommandRuleChanged EventType = "command.rule_changed"
	EventCalendarChanged    EventType = "calendar.changed"
	EventQueueUpdated       EventType = "queue.updated"
	EventQueuePaused        EventType = "queue.paused"
	EventQueueResumed       EventType = "queue.resumed"
	EventDispatchHeld       EventType = "dispatch.held"
	EventDispatchReleased   EventType = "dispatch.released"
	EventScheduleCreated    EventType = "schedule.created"
	EventScheduleUpdated    EventType = "schedule.updated"
	EventScheduleDeleted    EventType = "schedule.deleted"
	EventSchedulePaused     EventType = "schedule.paused"
	EventScheduleResumed    EventType = "schedule.resumed"
	EventScheduleMissed     EventType = "schedule.missed"
	EventScheduleSlowed     EventType = "schedule.slowed"
	EventSchedulePace       EventType = "schedule.pace"
	EventWorkerStarted      EventType = "worker.started"
	EventWorkerStopped      EventType = "worker.stopped"
	EventWorkerLost         EventType = "worker.lost"
	EventWebhookCreated     EventType = "webhook.created"
	EventWebhookUpdated     EventType = "webhook.updated"
	EventWebhookDeleted     EventType = "webhook.deleted"
	EventWebhookDisabled    EventType = "webhook.disabled"
	EventWebhookPing        EventType = "webhook.ping"

	EventChannelCreated  EventType = "channel.created"
	EventChannelUpdated  EventType = "channel.updated"
	EventChannelDeleted  EventType = "channel.deleted"
	EventChannelDisabled EventType = "channel.disabled"
	EventChannelPing     EventType = "channel.ping"

	EventRunStarted        EventType = "run.started"
	EventRunWaiting        EventType = "run.waiting"
	EventRunSucceeded      EventType = "run.succeeded"
	EventRunFailed         EventType = "run.failed"
	EventRunRejected       EventType = "run.rejected"
	EventRunCancelled      EventType = "run.cancelled"
	EventRunMessage        EventType = "run.message"
	EventFollowUpRefused   EventType = "run.follow_up_refused"
	EventApprovalRequested EventType = "approval.requested"
	EventApprovalDecided   EventType = "approval.decided"
	EventTemplatePublished EventType = "template.published"
	EventTaskUpdated       EventType = "task.updated"
	EventAlertFiring       EventType = "alert.firing"
	EventAlertResolved     EventType = "alert.resolved"
	EventAlertRuleChanged  EventType = "alert.rule_changed"
)

// EventInfo describes a type of event.
type EventInfo struct {
	Type EventType `json:"type"`
	Text Text      `json:"text" doc:"when it happens"`
}

// EventCatalogue lists every type of event, in the order of the documents. The tables
// of docs/events.md and docs/events.zh.md are made from it.
func EventCatalogue() []EventInfo {
	info := func(t EventType, en, zh string) EventInfo { return EventInfo{t, Text{EN: en, ZH: zh}} }
	return []EventInfo{
		info(EventJobScheduled,
			"A job waits for its start time: it is new and delayed, or failed and will be retried.",
			"作业等待开始时间：新建的延迟作业，或失败后等待重试的作业。"),
		info(EventJobQueued,
			"A job waits for a worker: it is new or due, or its worker returned it or was lost.",
			"作业等待工作节点：新建、到期、被工作节点退回或其工作节点丢失。"),
		info(EventJobStarted, "A worker started the job.", "工作节点开始执行作业。"),
		info(EventJobSucceeded, "The job succeeded, or a person resolved it as succeeded.",
			"作业成功，或被人确认为成功。"),
		info(EventJobFailed,
			"The job failed and will not be retried, or a person resolved it as failed.",
			"作业失败且不再重试，或被人确认为失败。"),
		info(EventJobCancelled, "A person cancelled the job, and it is stopped.", "作业被取消且已停止。"),
		info(EventJobExpired, "The job did not start within its ttl.", "作业未在有效等待时间内开始。"),
		info(EventJobUnknown,
			"The connection to the job was lost while it may have taken effect; a person must set its outcome.",
			"与作业的连接已丢失，作业可能已生效；需要人工确认结果。"),
		info(EventAssetCreated, "An asset was created.", "资产已创建。"),
		info(EventAssetUpdated, "An asset was changed.", "资产已修改。"),
		info(EventAssetDeleted, "An asset was deleted.", "资产已删除。"),
		info(EventAssetsImported, "Assets were imported from a file.", "从文件导入了资产。"),
		info(EventHostKeyPinned,
			"The first SSH host key that an address offered was pinned; it is trusted from now on.",
			"某地址首次出示的 SSH 主机密钥已被固定，此后受信任。"),
		info(EventHostKeyOffered,
			"An address offered an SSH host key that is not trusted; it was refused until a person accepts it.",
			"某地址出示了不受信任的 SSH 主机密钥：已被拒绝，等待人工处理。"),
		info(EventHostKeyAccepted, "A person accepted an SSH host key.", "SSH 主机密钥已被接受。"),
		info(EventHostKeyRevoked, "A person revoked an SSH host key.", "SSH 主机密钥已被吊销。"),
		info(EventCredentialCreated, "A credential was created.", "凭据已创建。"),
		info(EventCredentialUpdated, "A credential was changed.", "凭据已修改。"),
		info(EventCredentialDeleted, "A credential was deleted.", "凭据已删除。"),
		info(EventCommandRefused,
			"Command rules refused jobs; the object is the names of the rules. At most one event in 10 s for each user and rule.",
			"命令规则拒绝了作业；对象为规则名。每个用户每条规则每 10 秒最多一个事件。"),
		info(EventCalendarChanged, "A calendar was created, replaced or deleted.", "日历已创建、替换或删除。"),
		info(EventCommandRuleChanged, "A command rule was changed, created, reset or deleted.",
			"命令规则已修改、创建、重置或删除。"),
		info(EventQueueUpdated, "A queue was created, or its limits were changed.",
			"队列已创建或其限制已修改。"),
		info(EventQueuePaused, "A queue was paused.", "队列已暂停。"),
		info(EventQueueResumed, "A queue was resumed.", "队列已恢复。"),
		info(EventDispatchHeld,
			"Dispatch was held: that of the installation or of a project, or an asset or a label is in maintenance.",
			"作业分派已暂停：整个系统或某个项目，或某个资产、标签进入维护。"),
		info(EventDispatchReleased, "Dispatch was released, or a maintenance ended.", "作业分派已恢复，或维护已结束。"),
		info(EventScheduleCreated, "A schedule was created.", "计划已创建。"),
		info(EventScheduleUpdated, "A schedule was replaced.", "计划已被替换。"),
		info(EventScheduleDeleted, "A schedule was deleted.", "计划已删除。"),
		info(EventSchedulePaused, "A schedule was paused.", "计划已暂停。"),
		info(EventScheduleResumed, "A schedule was resumed.", "计划已恢复。"),
		info(EventScheduleMissed,
			"A fire of a schedule did not run: it was missed, skipped or refused; its history has the reason.",
			"计划的一次触发未执行：错过、跳过或被拒绝；触发记录中有原因。"),
		info(EventScheduleSlowed, "A schedule fires less often, because the workers are loaded.",
			"因工作节点负载高，计划降低了触发频率。"),
		info(EventSchedulePace, "A schedule fires as often as before: the workers are no longer loaded.",
			"工作节点负载恢复，计划恢复原触发频率。"),
		info(EventWorkerStarted, "A worker registered.", "工作节点已注册。"),
		info(EventWorkerStopped, "A worker shut down, or a person stopped it.",
			"工作节点正常停止，或被人停止。"),
		info(EventWorkerLost, "A worker sent no heartbeat and counts as lost; its jobs are rescued.",
			"工作节点失联；其作业将被接管。"),
		info(EventWebhookCreated, "A webhook was created.", "回调已创建。"),
		info(EventWebhookUpdated, "A person changed, enabled or disabled a webhook.",
			"回调已被修改、启用或停用。"),
		info(EventWebhookDeleted, "A webhook was deleted.", "回调已删除。"),
		info(EventWebhookDisabled,
			"Hostler disabled a webhook, because its receiver answered that it is gone.",
			"接收方声明已不存在，Hostler 停用了回调。"),
		info(EventWebhookPing, "A person tests a webhook; only that webhook receives it.",
			"测试回调；仅该回调会收到。"),
		info(EventChannelCreated, "A notification channel was created.", "通知渠道已创建。"),
		info(EventChannelUpdated, "A person changed, enabled or disabled a notification channel.",
			"通知渠道已被修改、启用或停用。"),
		info(EventChannelDeleted, "A notification channel was deleted.", "通知渠道已删除。"),
		info(EventChannelDisabled,
			"Hostler disabled a notification channel, because its receiver answered that it is gone.",
			"接收方声明已不存在，Hostler 停用了通知渠道。"),
		info(EventChannelPing, "A person tests a notification channel; only that channel receives it.",
			"测试通知渠道；仅该渠道会收到。"),
		info(EventRunStarted, "A person started a run.", "执行已启动。"),
		info(EventRunWaiting, "A run waits for people: for an approval, or for an unknown outcome to be resolved.",
			"执行在等待人工处理：审批，或确认未知结果。"),
		info(EventRunSucceeded, "A run succeeded.", "执行成功。"),
		info(EventRunFailed, "A run failed: one of its steps did.", "执行失败：其中某个步骤失败。"),
		info(EventRunRejected, "A run ended because an approval was rejected, or expired.",
			"审批被拒绝或过期，执行结束。"),
		info(EventRunCancelled, "A person terminated a run, and it has stopped.", "执行被终止且已停止。"),
		info(EventRunMessage, "A step of a run sends a message; the object is its text.",
			"执行的通知步骤发送消息；object 为其文本。"),
		info(EventFollowUpRefused, "What was to follow a run was refused; the object is the run.",
			"执行的后续操作被拒绝；object 为该执行。"),
		info(EventApprovalRequested, "A run asks for an approval.", "执行请求审批。"),
		info(EventApprovalDecided, "A person approved or rejected.", "审批已通过或被拒绝。"),
		info(EventTemplatePublished, "A version of a template was published, restored or retired.",
			"模板的某个版本已发布、恢复或停用。"),
		info(EventTaskUpdated, "A task was created, changed or deleted.", "任务已创建、修改或删除。"),
		info(EventAlertFiring, "Alerts of a rule are firing, and some may be resolved; the object is the rule.",
			"规则的告警触发（可能同时有部分恢复）；object 为规则名。"),
		info(EventAlertResolved, "Alerts of a rule are resolved.", "规则的告警已恢复。"),
		info(EventAlertRuleChanged, "An alert rule was created, changed, deleted or silenced.",
			"告警规则已创建、修改、删除或静默。"),
	}
}

// EventTypes lists the types of event.
func EventTypes() []EventType {
	var types []EventType
	for _, e := range EventCatalogue() {
		types = append(types, e.Type)
	}
	return types
}

// Matches reports whether a pattern matches the type: a type, job.* for all of an
// object, or * for all.
func (t EventType) Matches(pattern string) bool {
	if head, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(string(t), head)
	}
	return string(t) == pattern
}

// SettlesJob reports whether the type is that of a job which came into a settled state;
// see [State.Settled].
func (t EventType) SettlesJob() bool {
	state, isJob := strings.CutPrefix(string(t), "job.")
	return isJob && State(state).Settled()
}

// CheckEventPattern refuses a pattern that no type of event matches.
func CheckEventPattern(path, pattern string) error {
	for _, e := range EventCatalogue() {
		if e.Type.Matches(pattern) {
			return nil
		}
	}
	return Invalid(path,
		"matches no type of event; 'hostler events --types' or GET /api/v1/event-types lists them, and job.* means all of an object",
		"不是任何事件类型；'hostler events --types' 或 GET /api/v1/event-types 列出全部类型，job.* 表示某类对象的全部事件")
}

// Event is a fact about a change of state, written in the transaction of the change.
// Events have one order for all servers, in which a cause precedes its effect.
type Event struct {
	// Pos is the event's position in that order, and its id in the live stream, from which
	// a reader resumes.
	Pos  int64     `json:"pos"`
	Type EventType `json:"type"`
	At   time.Time `json:"at"`
	// Project is empty for objects that belong to no project, such as queues.
	Project string `json:"project,omitempty"`
	// Data is a [JobEvent] for the events of jobs and an [ObjectEvent] for the others.
	Data json.RawMessage `json:"data"`
}

// JobEvent is the data of an event of a job. It contains neither args nor result, which
// may be large or secret: GET /api/v1/jobs/{id} has them.
type JobEvent struct {
	Job       JobID     `json:"job"`
	Run       RunID     `json:"run,omitzero"`
	Action    string    `json:"action"`
	Queue     string    `json:"queue"`
	Asset     AssetID   `json:"asset,omitzero"`
	AssetName string    `json:"asset_name,omitempty"`
	State     State     `json:"state"`
	Cause     Cause     `json:"cause,omitempty" doc:"of the change; none for a new job"`
	Attempt   int       `json:"attempt,omitempty"`
	Worker    WorkerID  `json:"worker,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	Error     *JobError `json:"error,omitempty"`
}

// ObjectEvent is the data of an event of any other object.
type ObjectEvent struct {
	// Object is the name of the object, or its id when it has no name.
	Object string `json:"object"`
	// By is the user whose call it was; empty for a change by Hostler itself.
	By string `json:"by,omitempty"`
	// Channel is the channel that a message of a run is sent to. Channels that subscribe
	// to run.message get those without one.
	Channel string `json:"channel,omitempty"`
	// Result is that of a run, in what follows it only.
	Result *RunResult `json:"result,omitempty"`
	// Alert is what a notification of alerts tells.
	Alert *AlertNotice `json:"alert,omitempty"`
}

// EventFilter selects events; an empty field selects all. Every field but Types
// selects among the events of jobs and excludes all others.
type EventFilter struct {
	Types  []string // types or patterns; see [EventType.Matches]
	Action string
	Queue  string
	Asset  string // name, as it was when the job was created
	Run    RunID
	Job    JobID
}

// EventGap is the data of the event "gap" of the live stream: events that a reader
// missed.
type EventGap struct {
	Missed int64 `json:"missed" doc:"events that are no longer stored, or cannot be read"`
	// Reset reports that the reader's position is not one of this database, or that the
	// database lost events that the reader got. The number of missed events is unknown.
	Reset bool `json:"reset" doc:"the position is not one of this database, or the database lost events that were sent"`
}

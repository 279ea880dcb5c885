package hostler

import "time"

// RuleEffect is what a command rule does with a job that runs a matching command.
type RuleEffect string

// The effects.
const (
	RuleOff     RuleEffect = "off"
	RuleApprove RuleEffect = "approve" // the job needs an approval, or the override of an admin
	RuleRefuse  RuleEffect = "refuse"
)

// RuleUnknown is what a command rule does when it cannot be decided whether a command
// matches, because a value is not known before the command runs.
type RuleUnknown string

// The policies for what is not known.
const (
	UnknownIgnored RuleUnknown = "ignore"
	UnknownApplies RuleUnknown = "apply" // the rule counts as matched
)

// CommandRule describes commands that are dangerous, and what happens to a job that runs
// one: a built-in rule, as a project has changed it, or one of its own.
type CommandRule struct {
	Name    string      `json:"name"`
	Title   Text        `json:"title" doc:"what the commands do"`
	Builtin bool        `json:"builtin"`
	Changed bool        `json:"changed" doc:"a built-in rule that the project has changed"`
	Effect  RuleEffect  `json:"effect" enum:"off,approve,refuse"`
	Unknown RuleUnknown `json:"unknown" enum:"ignore,apply" doc:"for commands with values that are not known"`
	// Commands and Device are patterns; package risk documents them.
	Commands  []string   `json:"commands" doc:"patterns of commands of hosts"`
	Device    []string   `json:"device" doc:"patterns of commands of network devices"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
	UpdatedBy string     `json:"updated_by,omitempty"`
}

// CommandRuleInput changes a built-in rule, of which only effect and unknown can be
// changed, or creates or replaces a rule of the project.
type CommandRuleInput struct {
	Effect   RuleEffect  `json:"effect" enum:"off,approve,refuse"`
	Unknown  RuleUnknown `json:"unknown,omitempty" enum:"ignore,apply" doc:"default: that of the built-in rule, or ignore"`
	Title    string      `json:"title,omitempty" maxLength:"200"`
	Commands []string    `json:"commands,omitempty" maxItems:"50" doc:"such as: kubectl delete ns|namespace"`
	Device   []string    `json:"device,omitempty" maxItems:"50" doc:"such as: rel~oad"`
}

// CommandTest asks which rules a command matches.
type CommandTest struct {
	Command string `json:"command" minLength:"1" maxLength:"65536"`
	As      string `json:"as,omitempty" enum:"any,shell,device" doc:"default: any, both as a shell and as a network device read it"`
}

// CommandVerdict answers a [CommandTest].
type CommandVerdict struct {
	Effect   RuleEffect       `json:"effect" enum:"off,approve,refuse" doc:"of the strictest rule that matches; off: the command may run"`
	Findings []CommandFinding `json:"findings"`
}

// CommandFinding is a rule that a command matches, and where.
type CommandFinding struct {
	Rule    string     `json:"rule"`
	Title   Text       `json:"title"`
	Effect  RuleEffect `json:"effect" enum:"approve,refuse"`
	Line    int        `json:"line,omitempty" doc:"of the command that matches, from 1"`
	Column  int        `json:"column,omitempty"`
	Text    string     `json:"text" doc:"the command that matches, as it would run"`
	Certain bool       `json:"certain" doc:"false: it depends on values that are not known"`
}

// RuleOverride lets an admin run a job although rules demand an approval.
type RuleOverride struct {
	Rules  []string `json:"rules" minItems:"1" maxItems:"20" doc:"names of the rules, as the refusal lists them"`
	Reason string   `json:"reason" minLength:"1" maxLength:"500" doc:"for the audit"`
}

package auth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

func TestLimits(t *testing.T) {
	user := auth.LimitOf(hostler.RoleLimit{
		Actions: []string{"ssh_*", "check_port"}, Labels: map[string][]string{"env": {"dev", "test"}},
	})
	key := auth.LimitOf(hostler.RoleLimit{Actions: []string{"ssh_command", "http_request"}, Labels: map[string][]string{
		"env": {"test", "live"}, "site": {"a"},
	}})
	both := user.And(key)
	for name, want := range map[string]bool{"ssh_command": true, "ssh_script": false, "check_port": false, "http_request": false} {
		if got := both.AllowsAction(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, c := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"env": "test", "site": "a"}, true},
		{map[string]string{"env": "dev", "site": "a"}, false},
		{map[string]string{"env": "test"}, false},
		{nil, false},
	} {
		if got := both.AllowsAsset(c.labels); got != c.want {
			t.Errorf("%v: %v, want %v", c.labels, got, c.want)
		}
	}
	if diff := cmp.Diff([]string{"ssh_command"}, both.Actions()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"env": {"test"}, "site": {"a"}}, both.Labels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	none := auth.LimitOf(hostler.RoleLimit{})
	if none.LimitsActions() || none.LimitsAssets() || !none.AllowsAsset(nil) || !none.AllowsAction("x") {
		t.Error("no limit limits")
	}
}

// TestLimitedRolesLoseWhatLeadsAroundTheirLimit tries every verb with each kind of limit.
func TestLimitedRolesLoseWhatLeadsAroundTheirLimit(t *testing.T) {
	byAction := []auth.Verb{
		auth.CreateProject, auth.ManageUsers, auth.ManageAllUsers, auth.ManageKeys, auth.ManageAllKeys, auth.WriteRole,
		auth.WriteCredential, auth.WriteQueue, auth.StopWorker, auth.ManageSetAside, auth.VerifyAudit,
		auth.WriteWebhook, auth.WriteProject, auth.ShareDevice, auth.ReleaseLane, auth.WriteTemplate,
		auth.OverrideRule, auth.WriteCommandRule, auth.WriteCalendar, auth.HoldProject,
	}
	byAsset := append([]auth.Verb{
		auth.WriteAsset, auth.DecideHostKey, auth.ReadAudit, auth.ReadEvent, auth.ReadWebhook, auth.SendDelivery,
		auth.ReadSchedule, auth.WriteSchedule, auth.ReadStats, auth.ReadAlert, auth.WriteAlert,
		auth.ReadRun, auth.ChangeRun, auth.DecideApproval, auth.ReadHold, auth.WriteHold,
	}, byAction...)
	for _, c := range []struct {
		limit   hostler.RoleLimit
		refused []auth.Verb
	}{
		{hostler.RoleLimit{Actions: []string{"ping"}}, byAction},
		{hostler.RoleLimit{Labels: map[string][]string{"env": {"test"}}}, byAsset},
	} {
		caller := auth.Caller{
			UserID: 1, KeyRole: "admin", Project: home, Default: home, KeyLimit: auth.LimitOf(c.limit),
			Roles: map[hostler.ProjectID]hostler.Role{home: "admin"},
		}
		refused := map[auth.Verb]bool{}
		for _, v := range c.refused {
			refused[v] = true
		}
		for _, v := range auth.Verbs() {
			if got := auth.Allow(caller, v, home); got == refused[v] {
				t.Errorf("limit %+v, %s: %v", c.limit, v, got)
			}
			if !auth.Allow(caller, v, home) && auth.Refusal(caller, v).Code != hostler.CodeForbidden {
				t.Errorf("%s is refused as %v", v, auth.Refusal(caller, v))
			}
		}
	}
}

func TestKeyScopes(t *testing.T) {
	full := auth.KeyScope{Role: "operator", Projects: []hostler.ProjectID{1, 2}, Actions: []string{"ssh_*", "ping"}}
	for name, c := range map[string]struct {
		scope auth.KeyScope
		want  bool
	}{
		"same":           {full, true},
		"narrower":       {auth.KeyScope{Role: "viewer", Projects: []hostler.ProjectID{2}, Actions: []string{"ssh_command"}}, true},
		"higher role":    {auth.KeyScope{Role: "admin", Projects: full.Projects, Actions: full.Actions}, false},
		"other project":  {auth.KeyScope{Role: "viewer", Projects: []hostler.ProjectID{2, 3}, Actions: full.Actions}, false},
		"every project":  {auth.KeyScope{Role: "viewer", Actions: full.Actions}, false},
		"every action":   {auth.KeyScope{Role: "viewer", Projects: full.Projects}, false},
		"wider pattern":  {auth.KeyScope{Role: "viewer", Projects: full.Projects, Actions: []string{"s*"}}, false},
		"another action": {auth.KeyScope{Role: "viewer", Projects: full.Projects, Actions: []string{"http_request"}}, false},
	} {
		if got := full.Covers(c.scope); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	custom := auth.KeyScope{Role: "operator", Custom: 7}
	if custom.Covers(auth.KeyScope{Role: "viewer"}) || !custom.Covers(custom) {
		t.Error("a key with a custom role covers keys with another one, or not its own")
	}
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	if auth.Until(&early, &late) != &early || auth.Until(nil, &late) != &late || auth.Until(&early, nil) != &early {
		t.Error("the later expiry counts")
	}
}

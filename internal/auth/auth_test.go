package auth_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

const (
	home    hostler.ProjectID = 1 // the default project
	own     hostler.ProjectID = 2
	foreign hostler.ProjectID = 3
)

// least is the permission table, written a second time: every change of it must
// be made here too.
var least = map[auth.Verb]hostler.Role{
	auth.ReadProject: "viewer", auth.OwnKeys: "viewer", auth.ReadAsset: "viewer", auth.ReadHostKey: "viewer",
	auth.ReadCredential: "viewer", auth.ReadAction: "viewer", auth.ReadJob: "viewer", auth.ReadQueue: "viewer",
	auth.ReadWorker: "viewer", auth.ReadRole: "viewer", auth.WriteRole: "admin", auth.UseCredential: "operator",
	auth.WriteAsset: "operator", auth.RunJob: "operator", auth.ChangeJob: "operator",
	auth.ReadEvent: "viewer", auth.ReadWebhook: "operator", auth.SendDelivery: "operator", auth.WriteWebhook: "admin",
	auth.ManageUsers: "admin", auth.ManageKeys: "admin", auth.DecideHostKey: "admin", auth.WriteCredential: "admin",
	auth.ReadAudit: "admin", auth.ReadSchedule: "viewer", auth.ReadStats: "viewer", auth.ReadAlert: "viewer", auth.WriteAlert: "operator",
	auth.WriteCalendar: "admin", auth.WriteSchedule: "operator",
	auth.ReadTemplate: "viewer", auth.WriteTemplate: "operator", auth.ReadRun: "viewer",
	auth.OverrideRule: "admin", auth.ReadCommandRule: "viewer", auth.WriteCommandRule: "admin",
	auth.ChangeRun: "operator", auth.DecideApproval: "operator",
	auth.ReadHold: "viewer", auth.WriteHold: "operator", auth.HoldProject: "admin",
}

// system are the verbs for which only an admin of the default project counts.
var system = []auth.Verb{
	auth.CreateProject,
	auth.ManageAllUsers,
	auth.ManageAllKeys,
	auth.WriteProject,
	auth.ShareDevice,
	auth.ReleaseLane,
	auth.WriteQueue,
	auth.StopWorker,
	auth.RunRestricted,
	auth.ManageSetAside,
	auth.VerifyAudit,
}

func TestEveryVerbIsInTheMatrix(t *testing.T) {
	want := map[auth.Verb]bool{}
	for v := range least {
		want[v] = true
	}
	for _, v := range system {
		want[v] = true
	}
	got := map[auth.Verb]bool{}
	for _, v := range auth.Verbs() {
		got[v] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verbs (-want +got):\n%s", diff)
	}
}

func rank(r hostler.Role) int {
	return map[hostler.Role]int{"": 0, "viewer": 1, "operator": 2, "approver": 3, "admin": 4}[r]
}

// TestMatrix tries every role of the user × role of the key × verb × project.
func TestMatrix(t *testing.T) {
	roles := append(hostler.Roles(), hostler.RoleNone, "root")
	for _, user := range roles {
		for _, key := range roles {
			c := auth.Caller{
				UserID:  1,
				KeyRole: key,
				Project: own,
				Default: home,
				Roles:   map[hostler.ProjectID]hostler.Role{own: user},
			}
			effective := min(rank(user), rank(key))
			for v, need := range least {
				if got, want := auth.Allow(c, v, own), effective >= rank(need); got != want {
					t.Errorf("user %q with key %q, %s: %v, want %v", user, key, v, got, want)
				}
				if auth.Allow(c, v, foreign) || auth.Allow(c, v, 0) {
					t.Errorf("user %q with key %q may %s in a foreign project", user, key, v)
				}
			}
			for _, v := range system {
				if auth.Allow(c, v, own) {
					t.Errorf("%s is allowed to %q of a project that is not the default", v, user)
				}
				c := c
				c.Roles = map[hostler.ProjectID]hostler.Role{home: user}
				if got, want := auth.Allow(c, v, own), effective == rank("admin"); got != want {
					t.Errorf("user %q with key %q in the default project, %s: %v, want %v", user, key, v, got, want)
				}
			}
		}
	}
}

func TestDefaultIsToRefuse(t *testing.T) {
	admin := auth.Caller{
		KeyRole: "admin",
		Project: own,
		Default: home,
		Roles:   map[hostler.ProjectID]hostler.Role{own: "admin", home: "admin"},
	}
	if auth.Allow(admin, "asset.explode", own) {
		t.Error("an unknown verb is allowed")
	}
	for _, v := range auth.Verbs() {
		if auth.Allow(auth.Caller{}, v, own) {
			t.Errorf("%s is allowed to nobody in particular", v)
		}
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		k := auth.NewKey()
		if err := auth.ParseKey(k); err != nil || seen[k] {
			t.Fatalf("key %s…: %v, seen before: %v", auth.KeyPrefix(k), err, seen[k])
		}
		seen[k] = true
		if len(auth.HashKey(k)) != 64 || strings.Contains(auth.HashKey(k), k[4:12]) {
			t.Errorf("hash %q", auth.HashKey(k))
		}
		if p := auth.KeyPrefix(k); len(k)-len(p) < 39 {
			t.Errorf("the prefix %q leaves fewer than 192 secret bits", p)
		}
	}
}

// TestDamagedKeysAreRefused changes each character in turn.
func TestDamagedKeysAreRefused(t *testing.T) {
	k := auth.NewKey()
	for i := range k {
		for _, c := range []byte{'0', 'z', 'U', ' ', 0} {
			if k[i] == c {
				continue
			}
			bad := k[:i] + string(c) + k[i+1:]
			if hostler.CodeOf(auth.ParseKey(bad)) != hostler.CodeUnauthenticated {
				t.Fatalf("a key with %q at %d passes", c, i)
			}
		}
	}
	for _, bad := range []string{"", "hst_", k[:len(k)-1], k + "0", strings.ToUpper(k)} {
		if auth.ParseKey(bad) == nil {
			t.Errorf("%d characters pass", len(bad))
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(auth.NewKey())
	f.Add("hst_")
	f.Fuzz(func(t *testing.T, s string) {
		err := auth.ParseKey(s)
		if err == nil && (!strings.HasPrefix(s, "hst_") || len(s) != 59) {
			t.Errorf("%q passes", s)
		}
		if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the key")
		}
	})
}

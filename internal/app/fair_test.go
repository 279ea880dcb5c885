package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// span is a pointer to a duration.
func span(d time.Duration) *hostler.Duration { v := hostler.Duration(d); return &v }

// TestLimitsOnEveryPath creates jobs beyond the limits of their project on each path that
// creates jobs.
func TestLimitsOnEveryPath(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		a := w.asset(t, hostler.AssetInput{Name: "web1"})
		long := hostler.JobRequest{
			Action: "change", Assets: []string{"web1"}, MaxAttempts: 2, Lane: hostler.LaneNone,
			Timeout: hostler.Duration(time.Hour), Backoff: hostler.Backoff{Max: hostler.Duration(time.Hour)},
		}
		before := w.run(t, long)
		k := w.worker(t)
		k.finish(t, k.lease(t, 1), hostler.OutcomeCancelled)

		p := must(w.ChangeProject(ctx, w.admin, "default", hostler.ProjectChange{MaxTimeout: span(time.Minute)}))(t)
		if p.MaxTimeout.D() != time.Minute || p.Weight != 1 {
			t.Errorf("the project is %+v", p)
		}
		for name, try := range map[string]func() error{
			"run":      func() error { _, err := w.RunJobs(ctx, w.operator, long, ""); return err },
			"as admin": func() error { _, err := w.RunJobs(ctx, w.admin, long, ""); return err },
			"ad-hoc": func() error {
				req := long
				req.Assets, req.Target = nil, inline("192.0.2.1", "p")
				_, err := w.RunJobs(ctx, w.operator, req, "")
				return err
			},
			"batch": func() error {
				out, err := w.RunBatch(ctx, w.operator, []hostler.JobRequest{long})
				if err != nil {
					return err
				}
				return out[0].Err
			},
			"retry": func() error { _, err := w.RetryJob(ctx, w.operator, before.Job.ID, ""); return err },
			"bulk retry": func() error {
				res, err := w.RetryJobs(ctx, w.operator, hostler.BulkRequest{IDs: []hostler.JobID{before.Job.ID}}, "")
				if err != nil || res.Items[0].OK {
					return err
				}
				return hostler.Invalid("timeout", "%s", "%s", res.Items[0].Error.EN)
			},
		} {
			err := try()
			if got := paths(err); len(got) != 1 || got[0] != "timeout" || !strings.Contains(err.Error(), "max_timeout") ||
				!strings.Contains(err.Error(), `project "default"`) {
				t.Errorf("%s: %v, want a fault of the timeout that names the limit and who can raise it", name, err)
			}
		}
		// Without a timeout, the default is lowered, also for the simple task API.
		short := w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"web1"}})
		task := must(w.RunTask(ctx, w.operator, a.ID, "no such action", json.RawMessage(`{}`)))(t)
		if short.Job.TimeoutS != 60 || task.TimeoutS != 60 {
			t.Errorf("timeouts %v and %v, want 60", short.Job.TimeoutS, task.TimeoutS)
		}

		two := 2
		must(w.ChangeProject(ctx, w.admin, "default", hostler.ProjectChange{MaxQueued: &two, MaxTimeout: span(0)}))(t)
		for name, try := range map[string]func() error{
			"run":   func() error { _, err := w.RunJobs(ctx, w.operator, long, ""); return err },
			"batch": func() error { _, err := w.RunBatch(ctx, w.operator, []hostler.JobRequest{long}); return err },
			"task": func() error {
				_, err := w.RunTask(ctx, w.operator, a.ID, "check_port", json.RawMessage(`{}`))
				return err
			},
			"unknown task": func() error {
				_, err := w.RunTask(ctx, w.operator, a.ID, "no such action", json.RawMessage(`{}`))
				return err
			},
			"retry": func() error { _, err := w.RetryJob(ctx, w.operator, before.Job.ID, ""); return err },
		} {
			err := try()
			wantCode(t, err, hostler.CodeQueueFull)
			if err == nil || !strings.Contains(err.Error(), "max_queued") {
				t.Errorf("%s: %v, want an error that names max_queued", name, err)
			}
		}
	})
}

// TestOnlyAdminsOfTheInstallationSetLimits lets the admin of another project raise the
// limits of it, and give it a queue.
func TestOnlyAdminsOfTheInstallationSetLimits(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		many := 900
		_, err := w.ChangeProject(ctx, w.stranger, "other", hostler.ProjectChange{Weight: &many})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.PutQueue(ctx, w.stranger, "default", hostler.QueueLimits{Projects: &[]string{"other"}})
		wantCode(t, err, hostler.CodeForbidden)
		_, err = w.Project(ctx, w.stranger, "default")
		wantCode(t, err, hostler.CodeNotFound)
		if p := must(w.Project(ctx, w.stranger, "other"))(t); p.Weight != 1 {
			t.Errorf("weight %d", p.Weight)
		}
		none := 0
		_, err = w.ChangeProject(ctx, w.admin, "other", hostler.ProjectChange{Weight: &none, MaxBackoff: span(48 * time.Hour)})
		if got := paths(err); len(got) != 2 {
			t.Errorf("faults %v, want weight and max_backoff", got)
		}
	})
}

// TestQueueOfOtherProjects uses a queue that is granted to another project, on each path.
func TestQueueOfOtherProjects(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		must(w.PutQueue(ctx, w.admin, "routers", hostler.QueueLimits{}))(t)
		req := hostler.JobRequest{Action: "nowhere", Queue: "routers"}
		before := must(w.RunJobs(ctx, w.stranger, req, ""))(t)
		must(w.CancelJob(ctx, w.stranger, before.Job.ID))(t)
		q := must(w.PutQueue(ctx, w.admin, "routers", hostler.QueueLimits{Projects: &[]string{"default"}}))(t)
		if len(q.Projects) != 1 || q.Projects[0] != "default" {
			t.Errorf("granted to %v", q.Projects)
		}
		_, err := w.PutQueue(ctx, w.admin, "routers", hostler.QueueLimits{Projects: &[]string{"default", "absent"}})
		if got := paths(err); len(got) != 1 || got[0] != "projects[1]" {
			t.Errorf("faults %v of a project that does not exist", got)
		}
		for name, try := range map[string]func() error{
			"run": func() error { _, err := w.RunJobs(ctx, w.stranger, req, ""); return err },
			"batch": func() error {
				out, err := w.RunBatch(ctx, w.stranger, []hostler.JobRequest{req})
				if err != nil {
					return err
				}
				return out[0].Err
			},
			"retry": func() error { _, err := w.RetryJob(ctx, w.stranger, before.Job.ID, ""); return err },
		} {
			missing := req
			missing.Queue = "absent"
			_, other := w.RunJobs(ctx, w.stranger, missing, "")
			err := try()
			if err == nil || err.Error() != strings.ReplaceAll(other.Error(), "absent", "routers") {
				t.Errorf("%s: %v, want the error for a queue that does not exist: %v", name, err, other)
			}
		}
		_, err = w.Queue(ctx, w.stranger, "routers")
		wantCode(t, err, hostler.CodeNotFound)
		for _, q := range must(w.Queues(ctx, w.stranger))(t) {
			if q.Name == "routers" {
				t.Error("the queue of another project is listed")
			}
		}
		w.run(t, req)
		must(w.PutQueue(ctx, w.admin, "routers", hostler.QueueLimits{Projects: &[]string{}}))(t)
		must(w.RunJobs(ctx, w.stranger, req, ""))(t)
	})
}

// TestSharingADeviceNeedsAnAdmin gives a device of the default project to another project,
// as an admin of that project, on each path that writes assets or makes a lane.
func TestSharingADeviceNeedsAnAdmin(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "sw1", Address: "192.0.2.1"})
		w.asset(t, hostler.AssetInput{Name: "sw2", Address: "192.0.2.2", DeviceKey: "serial-2"})
		must(w.CreateAsset(ctx, w.stranger, hostler.AssetInput{Name: "mine", Address: "192.0.2.9"}))(t)
		create := func(in hostler.AssetInput) error { _, err := w.CreateAsset(ctx, w.stranger, in); return err }
		put := func(in hostler.AssetInput) error { _, err := w.PutAsset(ctx, w.stranger, "mine", in); return err }
		load := func(dry bool, file string) error {
			res, err := w.ImportAssets(ctx, w.stranger, file, hostler.ImportOptions{DryRun: dry})
			if err != nil || res.Failed == 0 {
				return err
			}
			return hostler.InvalidFields(res.Rows[0].Errors...)
		}
		adHoc := hostler.JobRequest{Action: "change", Target: inline("192.0.2.1", "p")}
		for name, c := range map[string]struct {
			try  func() error
			path string
		}{
			"create, by address": {func() error { return create(hostler.AssetInput{Name: "x", Address: "192.0.2.1"}) }, "device_key"},
			"create, by key": {func() error {
				return create(hostler.AssetInput{Name: "x", Address: "192.0.2.7", DeviceKey: "serial-2"})
			}, "device_key"},
			"change of the address": {func() error { return put(hostler.AssetInput{Name: "mine", Address: "192.0.2.1"}) }, "device_key"},
			"change of the key": {func() error {
				return put(hostler.AssetInput{Name: "mine", Address: "192.0.2.9", DeviceKey: "serial-2"})
			}, "device_key"},
			"import":             {func() error { return load(false, "name,address\nx,192.0.2.1\n") }, "device_key"},
			"dry run":            {func() error { return load(true, "name,address,device_key\nx,192.0.2.8,serial-2\n") }, "device_key"},
			"import of a change": {func() error { return load(false, "name,address\nmine,192.0.2.1\n") }, "device_key"},
			"ad-hoc host":        {func() error { _, err := w.RunJobs(ctx, w.stranger, adHoc, ""); return err }, "target.address"},
			"ad-hoc host, of another key": {func() error {
				req := adHoc
				req.Target = inline("192.0.2.2", "p")
				_, err := w.RunJobs(ctx, w.stranger, req, "")
				return err
			}, "target.address"},
			"batch of ad-hoc hosts": {func() error {
				out, err := w.RunBatch(ctx, w.stranger, []hostler.JobRequest{adHoc})
				if err != nil {
					return err
				}
				return out[0].Err
			}, "target.address"},
		} {
			err := c.try()
			if got := paths(err); len(got) != 1 || got[0] != c.path {
				t.Errorf("%s: %v, want a fault of %s", name, err, c.path)
			}
		}
		// What the project does not share goes on working, and what an admin shares does.
		must(w.PutAsset(ctx, w.stranger, "mine", hostler.AssetInput{Name: "mine", Address: "192.0.2.9", Port: 2222}))(t)
		look := adHoc
		look.Action = "check_port" // in no lane
		must(w.RunJobs(ctx, w.stranger, look, ""))(t)
		must(w.CreateAsset(ctx, w.inOther(t), hostler.AssetInput{Name: "sw1", Address: "192.0.2.1"}))(t)
		must(w.RunJobs(ctx, w.stranger, adHoc, ""))(t)
		must(w.PutAsset(ctx, w.stranger, "sw1", hostler.AssetInput{Name: "sw1", Address: "192.0.2.1", Port: 2222}))(t)
	})
}

// inOther is the admin of the installation, acting in the project "other".
func (w *env) inOther(t *testing.T) auth.Caller {
	t.Helper()
	c := w.admin
	c.Project, c.ProjectName = w.stranger.Project, w.stranger.ProjectName
	return c
}

// TestForeignHoldersOfALane has a job of one project whose outcome is unknown hold a
// device of two projects: the other one sees that, without learning more, and an admin of
// the installation releases it.
func TestForeignHoldersOfALane(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "secret-name", Address: "192.0.2.1"})
		must(w.CreateAsset(ctx, w.inOther(t), hostler.AssetInput{Name: "sw1", Address: "192.0.2.1"}))(t)
		k := w.worker(t)
		holder := w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"secret-name"}})
		k.finish(t, k.lease(t, 1), hostler.OutcomeUnknown)
		waits := must(w.RunJobs(ctx, w.stranger, hostler.JobRequest{Action: "change", Assets: []string{"sw1"}}, ""))(t)

		why := must(w.Waiting(ctx, w.stranger, waits.Job.ID))(t)
		if len(why) != 1 || why[0].Foreign != 1 || len(why[0].Holders) != 0 || !strings.Contains(why[0].Text.EN, "hostler lane show 192.0.2.1") {
			t.Errorf("the reason is %+v", why)
		}
		l := must(w.Lane(ctx, w.stranger, "192.0.2.1"))(t)
		seen, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{"secret-name", "olga", "default", holder.Job.ID.String()} {
			if strings.Contains(string(seen), hidden) {
				t.Errorf("a foreign project sees %s in %s", hidden, seen)
			}
		}
		if len(l.Holders) != 1 || l.Holders[0].State != hostler.StateUnknown || !l.Holders[0].Foreign || l.Waiting != 1 || !l.Shared {
			t.Errorf("the lane is %s", seen)
		}
		if l := must(w.Lane(ctx, w.admin, "192.0.2.1"))(t); l.Holders[0].Job != holder.Job.ID || l.Holders[0].Project != "default" {
			t.Errorf("the admin sees %+v", l)
		}
		w.asset(t, hostler.AssetInput{Name: "other-device", Address: "192.0.2.5"})
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"other-device"}})
		for _, lane := range []string{"192.0.2.5", "absent", ""} {
			_, err = w.Lane(ctx, w.stranger, lane)
			wantCode(t, err, hostler.CodeNotFound)
		}
		_, err = w.ReleaseLane(ctx, w.stranger, "192.0.2.1", hostler.LaneRelease{})
		wantCode(t, err, hostler.CodeForbidden)

		r := must(w.ReleaseLane(ctx, w.admin, "192.0.2.1", hostler.LaneRelease{}))(t)
		if r.Released != 1 || r.Cancelled != 0 {
			t.Errorf("released %+v", r)
		}
		if j := must(w.Job(ctx, w.operator, holder.Job.ID))(t); j.State != hostler.StateUnknown {
			t.Errorf("the holder is %s, want unknown", j.State)
		}
		running := k.lease(t, 2)
		r = must(w.ReleaseLane(ctx, w.admin, "192.0.2.1", hostler.LaneRelease{}))(t)
		if r.Released+r.Cancelled != 0 || len(r.Lane.Holders) != 1 || r.Lane.Holders[0].Job != waits.Job.ID {
			t.Errorf("a running job was released: %+v, of %v", r, running)
		}
		r = must(w.ReleaseLane(ctx, w.admin, "192.0.2.1", hostler.LaneRelease{Cancel: true}))(t)
		if j := must(w.Job(ctx, w.stranger, waits.Job.ID))(t); r.Cancelled != 1 || j.CancelAt == nil {
			t.Errorf("released %+v, the running job: %+v", r, j)
		}
		audit := must(w.Audit(ctx, w.stranger, hostler.AuditFilter{Verb: "lane.release"}, hostler.Page{}))(t)
		if len(audit.Items) != 1 {
			t.Errorf("%d rows in the audit of the project, want 1", len(audit.Items))
		}
	})
}

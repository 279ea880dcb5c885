package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// racks adds hosts to select from.
func racks(t *testing.T, w *env) {
	t.Helper()
	for name, labels := range map[string]map[string]string{
		"web01": {"app": "web", "env": "live"}, "web02": {"app": "web", "env": "live", "rack": "7"},
		"web03": {"app": "web", "env": "test"}, "db01": {"app": "db", "env": "live"}, "bare": nil,
	} {
		w.asset(t, hostler.AssetInput{Name: name, Labels: labels})
	}
}

// hostsOf are the hosts of the jobs of a run.
func hostsOf(t *testing.T, w *env, run hostler.RunID) string {
	t.Helper()
	var names []string
	for _, j := range must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{Run: run}, hostler.Page{}))(t).Items {
		names = append(names, j.AssetName)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestSelectors(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		racks(t, w)
		for want, req := range map[string]hostler.JobRequest{
			"web01 web02 web03":      {Selector: "app=web"},
			"web01 web02":            {Selector: "app=web,env!=test"},
			"db01 web01 web02 web03": {Selector: "app=web,app=db"},
			"web02":                  {Selector: "rack"},
			"db01 web01":             {Selector: "env=live,!rack"},
			"bare db01":              {Selector: "app notin (web)"},
			"web03":                  {Selector: "env!=live", Labels: map[string]string{"app": "web"}},
			"bare web03":             {Selector: "env=test", Assets: []string{"bare"}},
			"web01 web03":            {Assets: []string{"web*"}, Exclude: []string{"*02"}},
			"db01 web01 web02":       {Assets: []string{"*"}, Exclude: []string{"bare", "web0[3-9]"}},
		} {
			req.Action = "check_port"
			if got := hostsOf(t, w, w.run(t, req).Run); got != want {
				t.Errorf("%+v selected %s, want %s", req, got, want)
			}
		}
		for name, req := range map[string]hostler.JobRequest{
			"selector": {Selector: "app=web,"}, "exclude": {Exclude: []string{"web01"}},
			"assets[0]": {Assets: []string{"web[1"}}, "from_run": {FromRun: &hostler.FromRun{Hosts: "failed"}},
		} {
			req.Action = "check_port"
			_, err := w.RunJobs(t.Context(), w.operator, req, "")
			wantField(t, err, name)
		}
		for _, req := range []hostler.JobRequest{
			{Selector: "app=web", Exclude: []string{"web1"}}, // a misspelled exclusion
			{Selector: "app=web", Exclude: []string{"web*"}},
			{Selector: "app=nothing"},
			{Assets: []string{"x*"}},
		} {
			req.Action = "check_port"
			_, err := w.RunJobs(t.Context(), w.operator, req, "")
			wantCode(t, err, hostler.CodeNotFound)
		}
	})
}

// TestJobsBySelectorAndUser lists and changes jobs of assets with labels.
func TestJobsBySelectorAndUser(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		racks(t, w)
		w.run(t, hostler.JobRequest{Action: "check_port", Assets: []string{"*"}})
		list := func(f hostler.JobFilter) []string {
			var names []string
			for _, j := range must(w.Jobs(t.Context(), w.viewer, f, hostler.Page{}))(t).Items {
				names = append(names, j.AssetName)
			}
			slices.Sort(names)
			return names
		}
		if diff := cmp.Diff([]string{"bare", "db01"}, list(hostler.JobFilter{Selector: "app!=web"})); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		user := must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, hostler.Page{}))(t).Items[0].CreatedBy
		if n := len(list(hostler.JobFilter{User: user})); n != 5 {
			t.Errorf("%d jobs of %s", n, user)
		}
		if n := len(list(hostler.JobFilter{User: "nobody"})); n != 0 {
			t.Errorf("%d jobs of nobody", n)
		}
		_, err := w.Jobs(t.Context(), w.viewer, hostler.JobFilter{Selector: "a=b=c"}, hostler.Page{})
		wantField(t, err, "selector")
		r := must(w.CancelJobs(t.Context(), w.operator, hostler.BulkRequest{
			Filter: &hostler.JobFilter{Selector: "env=live"},
		}))(t)
		if r.Matched != 3 {
			t.Errorf("cancelled %d", r.Matched)
		}
	})
}

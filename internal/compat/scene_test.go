package compat

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// scene is what scene.json holds: what a test needs to know of a recorded folder.
type scene struct {
	Recorded string            `json:"recorded"` // when the older server was killed
	Keys     map[string]string `json:"keys"`     // API keys by name
	Secrets  map[string]string `json:"secrets"`  // other secrets by name
	Jobs     map[string]string `json:"jobs"`     // job ids by name
	Runs     map[string]string `json:"runs"`     // run ids by name
	Events   int               `json:"events"`   // number of events until then
	// States are the states of the jobs once an older server has opened the folder.
	States map[string]string `json:"states"`
}

// Variables of the environment with which a folder is recorded and opened.
func (n network) env() []string {
	return []string{
		"HOSTLER_WEBHOOK_URL=http://" + n.receiver() + "/configured",
		"HOSTLER_WEBHOOK_TOKEN=configured-canary-9d",
		"HOSTLER_WEBHOOK_RETRY=1h",
	}
}

const eventTypes = "/api/v1/event-types"

// reads are the requests whose answers are compared: every listing, every object.
func (sc scene) reads() []string {
	paths := []string{
		"/api/v1/me", "/api/v1/projects", "/api/v1/users", "/api/v1/users/alice", "/api/v1/keys",
		"/api/v1/assets", "/api/v1/assets?label=role%3Dweb", "/api/v1/assets/web", "/api/v1/assets/core",
		"/api/v1/assets/web/hostkeys", "/api/v1/assets/core/hostkeys", "/api/v1/assets.csv",
		"/api/v1/credentials", "/api/v1/credentials/ops", "/api/v1/actions", "/api/v1/actions/ssh_command",
		"/api/v1/jobs?limit=1000", "/api/v1/jobs?states=succeeded&limit=1000", "/api/v1/jobs?queue=frozen", "/api/v1/jobs?asset=site",
		"/api/v1/queues", "/api/v1/queues/ops", "/api/v1/workers", "/api/v1/webhooks", "/api/v1/webhooks/hook",
		"/api/v1/deliveries?limit=1000&until=" + url.QueryEscape(sc.Recorded),
		"/api/v1/events?format=json&after=0&limit=" + strconv.Itoa(sc.Events), eventTypes, "/api/v1/audit?limit=1000",
		"/tasks", "/assets", "/job?limit=1000", "/netpulse/0.3/job?limit=1000", "/worker", "/task-stats",
	}
	for _, name := range sortedKeys(sc.Jobs) {
		job := "/api/v1/jobs/" + sc.Jobs[name]
		paths = append(paths, job, job+"/attempts", job+"/waiting", job+"/log?limit=20", job+"/log?tail=3")
	}
	for _, name := range sortedKeys(sc.Runs) {
		paths = append(paths, "/api/v1/runs/"+sc.Runs[name])
	}
	return paths
}

// readAll makes the reading requests.
func (s *server) readAll(sc scene) map[string]any {
	s.t.Helper()
	out := map[string]any{}
	for _, path := range sc.reads() {
		a := s.send(http.MethodGet, path, "")
		if a.status != http.StatusOK {
			s.t.Fatalf("GET %s: %d %s\n%s", path, a.status, a.body, s.log())
		}
		if path == "/api/v1/assets.csv" {
			out[path] = string(a.body)
			continue
		}
		out[path] = a.decode(s.t)
	}
	return out
}

// awaitRecovery waits until a server that was started on the folder has dealt with what the
// kill left: every job is in its state, and no delivery waits but those of the
// disabled webhook.
func (s *server) awaitRecovery(sc scene) {
	s.t.Helper()
	for _, name := range sortedKeys(sc.States) {
		s.became(sc.Jobs[name], sc.States[name])
	}
	s.delivered()
}

// delivered waits until no delivery is pending but those of webhooks that are disabled,
// or that are to try again later.
func (s *server) delivered() {
	s.t.Helper()
	var waiting []string
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Log("pending deliveries:", waiting)
		}
	})
	s.await("the deliveries", func() bool {
		waiting = nil
		for _, d := range s.items("/api/v1/deliveries?state=pending&limit=1000") {
			if name, _ := d["webhook_name"].(string); !slices.Contains([]string{"off", "gone", "broken", "late"}, name) {
				waiting = append(waiting, fmt.Sprint(d))
			}
		}
		return len(waiting) == 0
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

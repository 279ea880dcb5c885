package inbound

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"hostler.dev/hostler"
)

// Roots are the names that conditions and look-ups of triggers see.
var Roots = []string{"request", "push", "alert", "payload"}

// maxEvent is how long the name of an event may be.
const maxEvent = 64

// ErrBody says that the body of a request cannot be read.
var ErrBody = errors.New("the body is not a JSON object")

// Event is what a request tells.
type Event struct {
	Name string
	// Known reports whether events of this name run the task: pushes of Git hosts, and all of
	// the others.
	Known  bool
	Values map[string]any
}

// Read reads a request that was verified.
func Read(kind hostler.InboundKind, r Request) (Event, error) {
	dec := json.NewDecoder(bytes.NewReader(r.Body))
	dec.UseNumber()
	var payload map[string]any
	if err := dec.Decode(&payload); err != nil || payload == nil || dec.More() {
		return Event{}, ErrBody
	}
	e := Event{Known: true, Values: map[string]any{"payload": payload, "push": map[string]any{}, "alert": map[string]any{}}}
	switch kind {
	case hostler.InboundGitHub:
		e.Name = r.Header("X-GitHub-Event")
		e.Known = e.Name == "push"
	case hostler.InboundGitea:
		e.Name = r.Header("X-Gitea-Event")
		e.Known = e.Name == "push"
	case hostler.InboundGitLab:
		e.Name = r.Header("X-Gitlab-Event")
		e.Known = e.Name == "Push Hook" || e.Name == "Tag Push Hook"
	case hostler.InboundAlertmanager:
		e.Name, e.Values["alert"] = text(payload["status"]), alert(payload)
	case hostler.InboundStandard:
		e.Name = text(payload["type"])
	}
	if e.Known && kind != hostler.InboundAlertmanager && kind != hostler.InboundStandard {
		e.Values["push"] = push(kind, payload)
	}
	e.Name = line(e.Name, maxEvent)
	e.Values["request"] = map[string]any{"kind": string(kind), "event": e.Name}
	return e, nil
}

// push is a push of any Git host in one form.
func push(kind hostler.InboundKind, p map[string]any) map[string]any {
	ref, commit := text(p["ref"]), text(p["after"])
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(ref, "refs/tags/")
	if !isBranch {
		branch = ""
	}
	if !isTag {
		tag = ""
	}
	out := map[string]any{
		"ref": ref, "branch": branch, "tag": tag, "commit": commit, "before": text(p["before"]),
		"deleted": commit != "" && strings.Trim(commit, "0") == "",
	}
	switch kind {
	case hostler.InboundGitLab:
		out["repository"], out["user"] = at(p, "project", "path_with_namespace"), text(p["user_username"])
		out["url"] = at(p, "project", "web_url")
	case hostler.InboundGitea:
		out["repository"], out["user"] = at(p, "repository", "full_name"), at(p, "pusher", "login")
		out["url"] = text(p["compare_url"])
	default:
		out["repository"], out["user"] = at(p, "repository", "full_name"), at(p, "pusher", "name")
		out["url"] = text(p["compare"])
	}
	return out
}

// alert is a notification of Alertmanager: a group of alerts with common labels.
func alert(p map[string]any) map[string]any {
	labels, _ := p["commonLabels"].(map[string]any)
	notes, _ := p["commonAnnotations"].(map[string]any)
	alerts, _ := p["alerts"].([]any)
	return map[string]any{
		"status": text(p["status"]), "receiver": text(p["receiver"]), "url": text(p["externalURL"]),
		"name": text(labels["alertname"]), "severity": text(labels["severity"]), "instance": text(labels["instance"]),
		"labels": orEmpty(labels), "annotations": orEmpty(notes), "count": json.Number(strconv.Itoa(len(alerts))),
	}
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// at is the text at a path; "" when there is none.
func at(v any, path ...string) string {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return text(v)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

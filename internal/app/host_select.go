package app

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/store"
)

// This file selects hosts, for every request that names some: jobs, steps of flows and
// schedules.

const (
	maxPatterns  = 50
	maxExcluded  = 1000
	missingShown = 100 // missing assets that an error names
)

// hostSelection is a checked selection: what is selected, but not what is excluded, among the
// hosts of an earlier run if there is one.
type hostSelection struct {
	store.Selection
	exclude store.Selection
	from    *hostler.FromRun
}

// targetOf is how a request for jobs selects hosts.
func targetOf(req hostler.JobRequest) hostler.StepTarget {
	return hostler.StepTarget{
		Assets: req.Assets, Labels: req.Labels, Selector: req.Selector, Exclude: req.Exclude, FromRun: req.FromRun,
	}
}

// setTarget makes a request for jobs select other hosts.
func setTarget(req *hostler.JobRequest, t hostler.StepTarget) {
	req.Assets, req.Labels, req.Selector = t.Assets, t.Labels, t.Selector
	req.Exclude, req.FromRun = t.Exclude, t.FromRun
}

// selectHosts checks how hosts are selected: prefix goes before the names of the fields. The
// labels must match further terms too.
func selectHosts(
	fields *check.Fields, prefix string, most int, t hostler.StepTarget, terms ...selector.Term,
) hostSelection {
	sel := hostSelection{from: t.FromRun}
	refs(fields, prefix+"assets", most, t.Assets, &sel.Selection)
	refs(fields, prefix+"exclude", maxExcluded, t.Exclude, &sel.exclude)
	checkLabels(fields, t.Labels)
	sel.Labels = slices.Concat(selector.Of(t.Labels), checkSelector(fields, prefix+"selector", t.Selector), terms)
	flow.CheckFromRun(fields, prefix+"from_run", t.FromRun)
	fields.Require(sel.exclude.Empty() || !sel.Empty() || sel.from != nil, prefix+"exclude",
		"requires assets, labels, selector or from_run", "需要同时指定 assets、labels、selector 或 from_run")
	return sel
}

// refs adds assets that are named: by id, by name or by a pattern of names.
func refs(fields *check.Fields, field string, most int, names []string, sel *store.Selection) {
	fields.Require(len(names) <= most, field, "must be at most %d in one call", "每次调用最多 %d 个", most)
	for i, ref := range names {
		if strings.ContainsAny(ref, "*?[") {
			_, err := path.Match(ref, "")
			fields.Require(err == nil && len(ref) <= 253 && check.Storable(ref), check.Item(field, i),
				"is not a pattern of names, such as web* or web[0-9]", "不是名称的模式，例如 web* 或 web[0-9]")
			sel.Patterns = append(sel.Patterns, ref)
			continue
		}
		if ref == "" || !check.Storable(ref) {
			fields.Add(check.Item(field, i), "is not the name or the id of an asset", "不是资产的名称或 ID")
			continue
		}
		if id, name := assetRef(ref); id != 0 {
			sel.IDs = append(sel.IDs, id)
		} else {
			sel.Names = append(sel.Names, name)
		}
	}
	fields.Require(len(sel.Patterns) <= maxPatterns, field, "must have at most %d patterns", "最多 %d 个模式", maxPatterns)
}

// findHosts finds the selected hosts, in the order of their ids; none may be left.
func (s *scope) findHosts(sel *hostSelection) ([]store.Target, error) {
	var from map[hostler.AssetID]bool
	what := sel.Selection
	if sel.from != nil {
		var err error
		if from, err = s.hostsFrom(sel.from); err != nil {
			return nil, err
		}
		if what.Empty() {
			what.IDs = slices.Sorted(maps.Keys(from))
		}
	}
	targets, err := s.Targets(s.project, what)
	if err != nil {
		return nil, err
	}
	if err := checkMissing(sel.Selection, targets); err != nil {
		return nil, err
	}
	if sel.from != nil {
		targets = slices.DeleteFunc(targets, func(t store.Target) bool { return !from[t.ID] })
	}
	if sel.exclude.Empty() {
		return targets, nil
	}
	excluded, err := s.Targets(s.project, sel.exclude)
	if err != nil {
		return nil, err
	}
	// A misspelled exclusion would run where it must not.
	if err := checkMissing(sel.exclude, excluded); err != nil {
		return nil, err
	}
	out := make(map[hostler.AssetID]bool, len(excluded))
	for _, t := range excluded {
		out[t.ID] = true
	}
	return slices.DeleteFunc(targets, func(t store.Target) bool { return out[t.ID] }), nil
}

// checkMissing reports the references that no target matches, all at once.
func checkMissing(sel store.Selection, targets []store.Target) error {
	ids, names := make(map[hostler.AssetID]bool, len(targets)), make(map[string]bool, len(targets))
	for _, t := range targets {
		ids[t.ID], names[t.Name] = true, true
	}
	var missing []string
	for _, id := range sel.IDs {
		if !ids[id] {
			missing = append(missing, id.String())
		}
	}
	for _, name := range sel.Names {
		if !names[name] {
			missing = append(missing, check.Key(name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing[:min(missingShown, len(missing))], ", ")
	if len(missing) > missingShown {
		list += fmt.Sprintf(" … (%d)", len(missing))
	}
	return hostler.Errorf(hostler.CodeNotFound, "these assets do not exist: %s", "以下资产不存在：%s", list)
}

// errNone reports that nothing was selected.
func (sel *hostSelection) errNone() error {
	switch {
	case sel.from != nil:
		return hostler.Errorf(hostler.CodeNotFound, "no host of that run is selected", "该执行中没有被选中的主机")
	case !sel.exclude.Empty():
		return hostler.Errorf(hostler.CodeNotFound, "every selected asset is excluded", "选中的资产均已被排除")
	case len(sel.Patterns) > 0:
		return hostler.Errorf(hostler.CodeNotFound, "no asset has a name like %s", "没有名称符合 %s 的资产",
			strings.Join(sel.Patterns, ", "))
	}
	return hostler.Errorf(hostler.CodeNotFound, "no asset has all these labels", "没有资产同时具有这些标签")
}

package store

import (
	"bytes"
	"sync"
	"time"

	"hostler.dev/hostler"
)

// This file caches what jobs were created from, so that neither their lease nor their end
// reads it again. What is cached does not change while a job lives, except for the ttl:
// leases of jobs with one are read. The cache is a hint: a job that another server, or an
// earlier one, created or leased is read when it is missing.

const (
	// maxSpecs bounds the jobs of one kind in the cache: more than this rarely run at the
	// same time.
	maxSpecs = 1 << 14
	// maxSpecArgs bounds the args of a cached job that waits, in bytes.
	maxSpecArgs = 1 << 10
	// specsKept is how long a full cache of waiting jobs keeps them. Those that wait longest
	// are leased first; some are leased by other servers, or cancelled.
	specsKept = time.Minute
)

// specs is the cache: of jobs that wait, and of jobs that run.
type specs struct {
	mu      sync.Mutex
	waiting map[hostler.JobID]leaseSource
	since   time.Time // of the oldest that may be in waiting
	running map[hostler.JobID]leaseSource
}

// addWaiting adds jobs whose creation is durable. The jobs of rows without args share those
// of their run.
func (s *specs) addWaiting(rows []jobRow, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting)+len(rows) > maxSpecs {
		if now.Sub(s.since).Abs() < specsKept {
			return
		}
		s.waiting = nil
	}
	if len(s.waiting) == 0 {
		s.waiting, s.since = make(map[hostler.JobID]leaseSource, len(rows)), now
	}
	for i := range rows {
		j := &rows[i]
		if hasTTL(j.ExpiresAt) || j.RunAt.After(now) || len(j.Args) > maxSpecArgs {
			continue
		}
		s.waiting[j.ID] = leaseSource{
			jobOrigin: jobOrigin{j.ID, j.Project, j.Queue, j.Action, j.Asset, j.CreatedBy, j.CreatedByID},
			Run:       j.Run, AssetName: j.AssetName, MaxAttempts: j.MaxAttempts,
			Timeout: j.Timeout, OnLost: j.OnLost,
			Args:       bytes.Clone(j.Args), // of a request that is far larger, perhaps
			SharedArgs: j.SharedArgs,
		}
	}
}

// addRunning adds jobs whose lease is durable.
func (s *specs) addRunning(list []leaseSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil || len(s.running)+len(list) > maxSpecs {
		// A full cache has jobs that others finished, for the most part.
		s.running = make(map[hostler.JobID]leaseSource, len(list))
	}
	for i := range list {
		s.running[list[i].ID] = list[i]
		delete(s.waiting, list[i].ID)
	}
}

// toLease returns the cached ones of these jobs, and which are missing.
func (s *specs) toLease(ids []hostler.JobID) (found []leaseSource, missing []hostler.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found = make([]leaseSource, 0, len(ids))
	for _, id := range ids {
		j, ok := s.waiting[id]
		if !ok {
			j, ok = s.running[id]
		}
		if ok && !hasTTL(j.ExpiresAt) {
			found = append(found, j)
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// subjects returns what events tell of all of these running jobs, or nil.
func (s *specs) subjects(ids []hostler.JobID) []subject {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]subject, 0, len(ids))
	for _, id := range ids {
		j, ok := s.running[id]
		if !ok {
			return nil
		}
		list = append(list, j.subject())
	}
	return list
}

// drop drops jobs that have ended.
func (s *specs) drop(ids []hostler.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.running, id)
	}
	if len(s.running) == 0 {
		s.running = nil // a map does not shrink
	}
}

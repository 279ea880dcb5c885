package store

import (
	"sync"

	"hostler.dev/hostler"
)

// maxSubjects bounds the cache: more jobs than this rarely run at the same time.
const maxSubjects = 1 << 14

// subjects caches what the events of running jobs tell of them, from the lease to the
// end, so that a finish need not read it again. No column of [subject] changes while a job
// lives. The cache of another server, or of an earlier one, may have led the job: one that
// is missing is read.
type subjects struct {
	mu    sync.Mutex
	byJob map[hostler.JobID]subject
}

// add adds the subjects of jobs whose lease is durable.
func (s *subjects) add(list []subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byJob == nil || len(s.byJob)+len(list) > maxSubjects {
		s.byJob = map[hostler.JobID]subject{} // of jobs that others finished, for the most part
	}
	for _, j := range list {
		s.byJob[j.Job] = j
	}
}

// find returns the subjects of all of these jobs, or nil.
func (s *subjects) find(ids []hostler.JobID) []subject {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]subject, 0, len(ids))
	for _, id := range ids {
		j, ok := s.byJob[id]
		if !ok {
			return nil
		}
		list = append(list, j)
	}
	return list
}

// drop drops the subjects of jobs that have ended.
func (s *subjects) drop(ids []hostler.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.byJob, id)
	}
}

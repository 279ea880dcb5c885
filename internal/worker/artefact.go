package worker

import (
	"context"
	"io"

	"hostler.dev/hostler"
)

// artefacts implements action.Artefacts for a job.
type artefacts struct{ j *job }

// Store implements action.Artefacts.
func (a artefacts) Store(ctx context.Context, in hostler.ArtefactInput, r io.Reader) (hostler.Artefact, error) {
	// The name may come from a host.
	in.Name = a.j.redact(in.Name)
	s := a.j.s
	art, err := s.w.cfg.Dispatcher.StoreArtefact(ctx, s.id, a.j.lease.LeaseRef, in, r)
	if hostler.CodeOf(err) == hostler.CodeStale {
		a.j.stale()
	}
	return art, err
}

// Open implements action.Artefacts.
func (a artefacts) Open(ctx context.Context, id hostler.ArtefactID) (hostler.Artefact, io.ReadCloser, error) {
	s := a.j.s
	art, content, err := s.w.cfg.Dispatcher.OpenArtefact(ctx, s.id, a.j.lease.LeaseRef, id)
	if hostler.CodeOf(err) == hostler.CodeStale {
		a.j.stale()
	}
	return art, content, err
}

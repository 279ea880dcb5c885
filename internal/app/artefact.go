package app

import (
	"context"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Artefacts lists the artefacts that the filter selects, newest first. Whoever may read a job
// may read its artefacts.
func (a *App) Artefacts(
	ctx context.Context, c auth.Caller, f hostler.ArtefactFilter, p hostler.Page,
) (hostler.List[hostler.Artefact], error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.List[hostler.Artefact]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Artefact]{}, err
	}
	var before hostler.ArtefactID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Artefact]{}, errCursor()
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Artefact], error) {
		items, err := s.Tx.Artefacts(s.project, f, before, limit+1)
		return cut(items, limit, func(a hostler.Artefact) string { return a.ID.String() }), err
	})
}

// JobArtefacts lists the artefacts of a job, newest first.
func (a *App) JobArtefacts(ctx context.Context, c auth.Caller, id hostler.JobID) ([]hostler.Artefact, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]hostler.Artefact, error) {
		if _, err := s.job(id); err != nil {
			return nil, err
		}
		return s.Tx.Artefacts(s.project, hostler.ArtefactFilter{Job: id}, 0, hostler.MaxJobArtefacts)
	})
}

// Artefact reads the description of an artefact.
func (a *App) Artefact(ctx context.Context, c auth.Caller, id hostler.ArtefactID) (hostler.Artefact, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.Artefact{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Artefact, error) { return s.artefact(id) })
}

func (s *scope) artefact(id hostler.ArtefactID) (hostler.Artefact, error) {
	a, err := s.Tx.Artefact(s.project, id)
	if err != nil {
		return hostler.Artefact{}, err
	}
	if a == nil {
		return hostler.Artefact{}, hostler.NotFound(artefactKind, id.String())
	}
	return *a, nil
}

// OpenArtefact opens the content of an artefact. The reader holds no transaction.
func (a *App) OpenArtefact(
	ctx context.Context, c auth.Caller, id hostler.ArtefactID,
) (hostler.Artefact, io.ReadSeeker, error) {
	art, err := a.Artefact(ctx, c, id)
	if err != nil {
		return art, nil, err
	}
	return art, a.store.ForLists().ReadArtefact(ctx, art), nil
}

// DeleteArtefact deletes an artefact before its time.
func (a *App) DeleteArtefact(ctx context.Context, c auth.Caller, id hostler.ArtefactID) error {
	g, err := a.allow(c, auth.ChangeJob)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (none struct{}, err error) {
		art, err := s.artefact(id)
		if err != nil {
			return none, err
		}
		if _, err := s.Tx.DeleteArtefact(s.project, id); err != nil {
			return none, err
		}
		return none, s.audit("artefact.delete", id.String(), map[string]any{
			"job": art.Job, "name": art.Name, "size": art.Size, "sha256": art.SHA256,
		})
	})
	return err
}

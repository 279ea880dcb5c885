package engine

import (
	"cmp"
	"context"
	"io"
	"mime"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// StoreArtefact implements [hostler.Dispatcher].
func (e *Engine) StoreArtefact(
	ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, in hostler.ArtefactInput, r io.Reader,
) (hostler.Artefact, error) {
	in.MediaType = cmp.Or(in.MediaType, "application/octet-stream")
	if err := hostler.CheckFileName("name", in.Name); err != nil {
		return hostler.Artefact{}, err
	}
	if _, _, err := mime.ParseMediaType(in.MediaType); err != nil || len(in.MediaType) > hostler.MaxArtefactName {
		return hostler.Artefact{}, hostler.Invalid("media_type", "is not a media type", "不是合法的媒体类型")
	}
	return e.store.StoreArtefact(ctx, w, l, in, e.cfg.Artefacts, r)
}

// OpenArtefact implements [hostler.Dispatcher].
func (e *Engine) OpenArtefact(
	ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, id hostler.ArtefactID,
) (a hostler.Artefact, content io.ReadCloser, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		a, err = tx.ArtefactForJob(w, l, id)
		return err
	})
	if err != nil {
		return hostler.Artefact{}, nil, err
	}
	return a, e.store.ReadArtefact(ctx, a), nil
}

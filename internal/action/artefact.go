package action

import (
	"context"
	"errors"
	"io"

	"hostler.dev/hostler"
)

// ArtefactPattern is the pattern of args that name an artefact.
const ArtefactPattern = `^art_[0-9a-hjkmnp-tv-z]{11}$`

// StoreArtefact stores what r returns as an artefact of the job. An error of r is returned as
// it is, all others as a Fault.
func (c *Call) StoreArtefact(ctx context.Context, name, mediaType string, r io.Reader) (hostler.Artefact, error) {
	src := &source{Reader: r}
	a, err := c.Artefacts.Store(ctx, hostler.ArtefactInput{Name: name, MediaType: mediaType}, src)
	if src.err != nil {
		return a, src.err
	}
	return a, artefactFault(ctx, err)
}

// OpenArtefact opens the artefact that an arg names. Every error is a Fault.
func (c *Call) OpenArtefact(ctx context.Context, id string) (hostler.Artefact, io.ReadCloser, error) {
	var of hostler.ArtefactID
	if of.UnmarshalText([]byte(id)) != nil {
		return hostler.Artefact{}, nil, NewFault(hostler.ErrKindBadArgs, "%[1]q is not the id of an artefact",
			"%[1]q 不是产物 ID", id).Final()
	}
	a, content, err := c.Artefacts.Open(ctx, of)
	return a, content, artefactFault(ctx, err)
}

// source records the error of its reader.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// artefactFault is the fault of an error of the store of artefacts.
func artefactFault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return StoppedFault(ctx, "while an artefact was stored or read", "读写产物时").Because(err)
	}
	kind := hostler.ErrKindArtefact
	text := hostler.Text{EN: "the store of artefacts does not answer", ZH: "产物存储无应答"}
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		text = e.Text
		for _, f := range e.Fields {
			text.EN, text.ZH = text.EN+"; "+f.Path+": "+f.Text.EN, text.ZH+"；"+f.Path+"："+f.Text.ZH
		}
	}
	f := NewFault(kind, "%[1]s", "%[2]s", text.EN, text.ZH).Because(err)
	f.NoRetry = !hostler.CodeOf(err).Temporary()
	return f
}

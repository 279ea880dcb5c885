package ssh

import (
	"context"
	"errors"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// KindFile is the kind of error of a file that could not be read or written.
const KindFile = "file"

// checkArtefactName reports what is wrong with the name that args give an artefact; "" is the
// default.
func checkArtefactName(name string) []hostler.FieldError {
	if name == "" {
		return nil
	}
	if err, ok := errors.AsType[*hostler.Error](hostler.CheckFileName("name", name)); ok {
		return err.Fields
	}
	return nil
}

// storeOutput runs a program and stores its standard output as an artefact, unless the
// program fails, which must change nothing. Its standard error goes to the job's output.
func (h *host) storeOutput(ctx context.Context, name, mediaType string, p program) (hostler.Artefact, error) {
	return h.storeConverted(ctx, name, mediaType, p, io.NopCloser)
}

// storeConverted is storeOutput for an output that is converted on its way.
func (h *host) storeConverted(
	ctx context.Context, name, mediaType string, p program, convert func(io.Reader) io.ReadCloser,
) (hostler.Artefact, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		ended, line, err := h.runTimed(ctx, p, pw, h.call.Stderr)
		if err == nil && ended.ExitCode != 0 {
			err = action.NewFault(hostler.ErrKindCommand, "exit status %d: %s", "退出码 %d：%s", ended.ExitCode, line)
		}
		failed <- err
		pw.CloseWithError(err)
	}()
	converted := convert(pr)
	a, err := h.call.StoreArtefact(ctx, name, mediaType, converted)
	_ = converted.Close() // an error of a pipe is that of its writer
	if err != nil {
		cancel(action.ErrCancelled) // the program is killed
	}
	_ = pr.Close()
	if failure := <-failed; failure != nil && err == nil {
		err = failure
	}
	if f, ok := errors.AsType[*action.Fault](err); ok && f.Outcome == hostler.OutcomeUnknown {
		f = f.Clone()
		f.Outcome = hostler.OutcomeFailed // the program only reads
		err = f
	}
	return a, err
}

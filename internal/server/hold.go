package server

import (
	"context"
	"fmt"
	"io"
	"strings"

	"hostler.dev/hostler"
)

// shownWaiting is how many queues the start of a server with held dispatch lists.
const shownWaiting = 20

// holdDispatch holds dispatch, before any job could start, if the server was asked to or
// the database is a copy. It returns the state of dispatch.
func (s *server) holdDispatch(ctx context.Context) (hostler.Dispatch, error) {
	identity := ""
	if s.shared != nil {
		var err error
		if identity, err = s.shared.Identity(ctx); err != nil {
			return hostler.Dispatch{}, fmt.Errorf("read the identity of the database: %w", err)
		}
	}
	return s.app.StartDispatch(ctx, identity, s.proc.Hold)
}

// showHeld says why dispatch is held, and what waits.
func (s *server) showHeld(ctx context.Context, d hostler.Dispatch) error {
	if !d.Held {
		return nil
	}
	s.log.WarnContext(ctx, "dispatch is held", "reason", d.Reason, "since", d.Since)
	var text strings.Builder
	text.WriteString(d.Text.In(s.cfg.Lang) + "\n")
	for _, h := range d.Waiting[:min(len(d.Waiting), shownWaiting)] {
		text.WriteString("  " + hostler.Textf("%s, queue %s: %d jobs, %d of them due, the oldest of %s",
			"项目 %s，队列 %s：%d 个作业，其中 %d 个已到期，最早创建于 %s",
			h.Project, h.Queue, h.Jobs, h.Due, h.Oldest.UTC().Format("2006-01-02 15:04:05Z")).In(s.cfg.Lang) + "\n")
	}
	_, err := io.WriteString(s.proc.Out, text.String())
	return err
}

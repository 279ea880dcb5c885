package server

import (
	"context"
	"errors"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/local"
	"hostler.dev/hostler/internal/config"
)

// localAction is the action that runs programs on the server itself.
const localAction = "local_command"

// localAccount returns the user that local_command runs as; nil when the action is
// disabled. A user or a project that the configuration names and that cannot be used
// ends the start; without one, the action is disabled and the log says why, so that a
// server that was upgraded starts.
func (s *server) localAccount(ctx context.Context) (*local.Account, error) {
	if !s.cfg.EnableLocalCommand {
		return nil, nil
	}
	a, err := local.AccountFor(s.cfg.LocalCommandUser, guardedBy(s.cfg, s.proc.ContextFile), len(s.cfg.LocalProjects) > 0)
	if err == nil {
		if a.Name == "" {
			protectProcess()
		}
		return &a, nil
	}
	if s.cfg.LocalCommandUser != "" || len(s.cfg.LocalProjects) > 0 {
		return nil, err
	}
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		s.log.WarnContext(ctx, "local_command is disabled", "reason", e.Text.In(s.cfg.Lang))
	}
	return nil, nil
}

// guardedBy lists what holds secrets of the server, wherever the configuration puts it.
func guardedBy(cfg config.Config, contextFile string) local.Guarded {
	db, _ := cfg.SQLitePath()
	return local.Guarded{
		Folders: []string{cfg.Data, cfg.AuditArchive},
		Files:   []string{cfg.File, cfg.TLSKey, db, contextFile},
	}
}

// accountOf is the account, or the zero one.
func accountOf(a *local.Account) local.Account {
	if a == nil {
		return local.Account{}
	}
	return *a
}

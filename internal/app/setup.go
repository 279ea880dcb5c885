package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// adminUser is the user that a fresh database begins with.
const adminUser = "admin"

// localUser is the user in audit rows of what the process itself did, on the
// authority of its configuration or its data folder.
const localUser = "local"

// errDone ends a transaction that found its work done already.
var errDone = errors.New("done already")

// Bootstrap gives a fresh database its default project, its default queue, and an
// admin with a key: the preset one, or a generated one. The secret is returned
// this once; created is false when the database was in use already.
func (a *App) Bootstrap(ctx context.Context, presetKey string) (secret string, created bool, err error) {
	if presetKey != "" && auth.ParseKey(presetKey) != nil {
		return "", false, hostler.Errorf(hostler.CodeInvalid,
			"HOSTLER_ADMIN_KEY is not an API key of Hostler (hst_ and 55 more characters); leave it unset to have one made",
			"HOSTLER_ADMIN_KEY 不是 Hostler 的 API 密钥（hst_ 加 55 个字符）；不设置则自动生成")
	}
	if secret = presetKey; secret == "" {
		secret = auth.NewKey()
	}
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		// Of two servers that start at once, one makes the project.
		p, err := tx.InsertProject(hostler.DefaultProject)
		if hostler.CodeOf(err) == hostler.CodeConflict {
			return errDone
		}
		if err != nil {
			return err
		}
		if _, err := tx.SetQueue(hostler.DefaultQueue, store.QueueSettings{}); err != nil {
			return err
		}
		return makeAdmin(tx, p, "first admin key", secret)
	})
	if errors.Is(err, errDone) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return secret, true, nil
}

// makeAdmin makes sure that the user admin is one, and stores a key of it.
func makeAdmin(tx *store.Tx, p hostler.Project, keyName, secret string) error {
	u, err := tx.UserByName(adminUser)
	if err != nil {
		return err
	}
	var id hostler.UserID
	if u != nil {
		id = u.ID
	} else if id, err = tx.InsertUser(adminUser); err != nil {
		return err
	}
	if err := tx.SetUserDisabled(id, false); err != nil {
		return err
	}
	if err := tx.SetRole(id, p.ID, hostler.RoleAdmin); err != nil {
		return err
	}
	key, err := tx.InsertKey(store.KeyRow{
		Key: hostler.Key{
			Name: keyName, User: adminUser, Project: p.Name, Role: hostler.RoleAdmin, Prefix: auth.KeyPrefix(secret),
		},
		UserID: id, ProjectID: p.ID, Hash: auth.HashKey(secret),
	})
	if err != nil {
		return err
	}
	detail, err := json.Marshal(key)
	if err != nil {
		return fmt.Errorf("encode audit detail: %w", err)
	}
	return tx.AppendAudit(p.ID, hostler.Audit{User: localUser, Verb: "key.create", Object: key.ID.String(), Detail: detail})
}

// LocalAdminKey makes a key for the user admin, who is made, enabled and given the
// role again where needed. It is for whoever can open the database anyway: access
// to the data folder is the permission.
func (a *App) LocalAdminKey(ctx context.Context, name string) (secret string, err error) {
	var fields check.Fields
	fields.Line("name", name, 64)
	fields.Given("name", name)
	if err := fields.Err(); err != nil {
		return "", err
	}
	secret = auth.NewKey()
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		p, err := tx.ProjectByName(hostler.DefaultProject)
		if err != nil {
			return err
		}
		if p == nil {
			return hostler.Errorf(hostler.CodeConflict,
				"this database is empty; start the server once: hostler serve", "数据库为空；请先启动一次服务：hostler serve")
		}
		return makeAdmin(tx, *p, name, secret)
	})
	if err != nil {
		return "", err
	}
	a.callers.forget()
	return secret, nil
}

// SampleAsset is the name of the asset that SeedSample makes.
const SampleAsset = "this-machine"

// SeedSample gives the default project its first asset, this machine, and a first
// job that checks the server's own port on it. It does so once in the life of a
// database; a sample that was deleted stays deleted.
func (a *App) SeedSample(ctx context.Context, port int) error {
	p, err := a.plan(hostler.JobRequest{Action: "check_port", Assets: []string{SampleAsset}})
	if err != nil {
		return err
	}
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		fresh, err := tx.MarkOnce("sample")
		if err != nil {
			return err
		}
		if !fresh {
			return errDone
		}
		project, err := tx.ProjectByName(hostler.DefaultProject)
		if err != nil || project == nil {
			return err
		}
		s := &scope{Tx: tx, grant: grant{app: a, project: project.ID, caller: auth.Caller{
			User: adminUser, Project: project.ID, ProjectName: project.Name, Default: project.ID,
		}}}
		return s.seed(p, port)
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

func (s *scope) seed(p *plan, port int) error {
	row, err := assetRow(hostler.AssetInput{
		Name: SampleAsset, Address: "127.0.0.1", Port: port, Labels: map[string]string{"sample": "true"},
	})
	if err != nil {
		return err
	}
	row.ProjectID = s.project
	id, err := s.InsertAsset(row)
	if hostler.CodeOf(err) == hostler.CodeConflict {
		return errDone // a person was faster
	}
	if err != nil {
		return err
	}
	if _, err := s.recordAsset("asset.create", id); err != nil {
		return err
	}
	_, err = s.runPlan(p)
	return err
}

package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// adminUser is the first user of a new database.
const adminUser = "admin"

// localUser is the user in audit rows of what the process itself did, on the
// authority of its configuration or its data folder.
const localUser = "local"

// errDone rolls back a transaction whose work was done already.
var errDone = errors.New("done already")

// Bootstrap creates the default project, the default queue, and an admin with a key in
// a new database: the preset key, or a generated one, which cannot be read again.
// created is false when the database was not new.
func (a *App) Bootstrap(ctx context.Context, presetKey string) (secret string, created bool, err error) {
	if presetKey != "" && auth.ParseKey(presetKey) != nil {
		return "", false, hostler.Errorf(hostler.CodeInvalid,
			"HOSTLER_ADMIN_KEY is not an API key of Hostler (hst_ and 55 more characters); "+
				"unset it to have a key generated",
			"HOSTLER_ADMIN_KEY 不是 Hostler 的 API 密钥（hst_ 加 55 个字符）；不设置则自动生成")
	}
	secret = cmp.Or(presetKey, auth.NewKey())
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		// If two servers start at the same time, one of them creates the project.
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
		return createAdminKey(tx, p, "first admin key", secret)
	})
	if errors.Is(err, errDone) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return secret, true, nil
}

// createAdminKey creates, enables and promotes the user admin as needed, and stores a
// key of it.
func createAdminKey(tx *store.Tx, p hostler.Project, keyName, secret string) error {
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
	if err := tx.SetRole(id, p.ID, hostler.RoleAdmin, 0); err != nil {
		return err
	}
	key, err := tx.InsertKey(store.KeyRow{
		Key: hostler.Key{
			Name: keyName, User: adminUser, Project: p.Name, Role: hostler.RoleAdmin, Prefix: auth.KeyPrefix(secret),
		},
		UserID: id, ProjectID: p.ID, Base: hostler.RoleAdmin, Hash: auth.HashKey(secret),
	})
	if err != nil {
		return err
	}
	detail, err := json.Marshal(key)
	if err != nil {
		return fmt.Errorf("encode audit detail: %w", err)
	}
	return tx.AppendAudit(p.ID, hostler.Audit{
		User: localUser, Verb: "key.create", Object: key.ID.String(), Detail: detail,
	})
}

// LocalAdminKey creates a key of the user admin, which is created, enabled and promoted
// as needed. There is no Caller: access to the database is the permission.
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
				"the database is empty; start the server first: hostler serve",
				"数据库为空；请先启动一次服务：hostler serve")
		}
		return createAdminKey(tx, *p, name, secret)
	})
	if err != nil {
		return "", err
	}
	a.callers.clear()
	return secret, nil
}

// SampleAsset is the name of the asset that SeedSample creates.
const SampleAsset = "this-machine"

// SeedSample creates the first asset, this machine, in the default project, and a job
// that checks the server's own port on it. It does so once for each database: a sample
// that was deleted is not created again.
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
		return errDone // the name is in use
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

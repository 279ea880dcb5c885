package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	return insertAdminKey(tx, p, id, secret, store.KeyRow{Key: hostler.Key{Name: keyName}})
}

// insertAdminKey stores a key of the user admin with the authority of the process.
func insertAdminKey(tx *store.Tx, p hostler.Project, id hostler.UserID, secret string, row store.KeyRow) error {
	row.User, row.Project, row.Role, row.Prefix = adminUser, p.Name, hostler.RoleAdmin, auth.KeyPrefix(secret)
	row.UserID, row.ProjectID, row.Base, row.Hash = id, p.ID, hostler.RoleAdmin, auth.HashKey(secret)
	key, err := tx.InsertKey(row)
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

// localKeyLife is how long a local key is valid. It is renewed when half of that is over.
const localKeyLife = 48 * time.Hour

// LocalContextKey returns the key for the command line on the server's machine: have, if it
// is such a key and valid for long enough, or else a new one of the user admin. There is
// none ("") when that user is disabled or was never created. Access to the data folder,
// where the key is written, is the permission.
func (a *App) LocalContextKey(ctx context.Context, have string) (secret string, err error) {
	err = a.work.InTx(ctx, func(tx *store.Tx) error {
		secret = ""
		if auth.ParseKey(have) == nil {
			k, disabled, err := tx.KeyByHash(auth.HashKey(have))
			if err != nil {
				return err
			}
			if k != nil && k.Local && refuseKey(k, disabled, tx.Now().Add(localKeyLife/2)) == nil {
				secret = have
				return nil
			}
		}
		u, err := tx.UserByName(adminUser)
		if err != nil || u == nil || u.Disabled {
			return err
		}
		p, err := tx.ProjectByName(hostler.DefaultProject)
		if err != nil || p == nil {
			return err
		}
		if err := tx.DeleteLocalKeys(tx.Now().Add(-localKeyLife)); err != nil {
			return err
		}
		secret = auth.NewKey()
		expires := tx.Now().Add(localKeyLife)
		return insertAdminKey(tx, *p, u.ID, secret, store.KeyRow{
			Key: hostler.Key{Name: "command line of this machine", ExpiresAt: &expires}, Local: true,
		})
	})
	return secret, err
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
		commands := newCommandCheck(s.grant, nil, nil)
		commands.close() // check_port runs none
		p.judge(commands)
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

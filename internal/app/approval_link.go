package app

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// This file holds the links of approval notices. A link shows what it asks for to whoever
// has it, and decides nothing by itself: a decision takes the API key of a person who may
// decide, by the same rules as everywhere else. So it may be sent to a chat with the
// requester in it. It ends with the first decision that ends the approval, and after a week.

// linkSpan is how long the link of an approval works.
const linkSpan = 7 * 24 * time.Hour

// linkPurpose separates the digests of links from others.
const linkPurpose = "approval link"

// ApprovalToken is the secret part of the link of an approval. It is not stored.
func ApprovalToken(box *secret.Box, id hostler.ApprovalID) string {
	return tokenOf(box.Digests(linkPurpose, []byte(id.String()))[0])
}

func tokenOf(digest []byte) string { return base64.RawURLEncoding.EncodeToString(digest[:24]) }

// LinkedApproval returns what the link of an approval asks for: nothing that is decided, has
// expired or was never asked. It changes nothing.
func (a *App) LinkedApproval(ctx context.Context, id hostler.ApprovalID, token string) (hostler.Approval, error) {
	out, _, err := a.linked(ctx, id, token)
	return out, err
}

// CheckLink refuses a link that was never valid. It reads nothing.
func (a *App) CheckLink(id hostler.ApprovalID, token string) error {
	valid := 0
	for _, digest := range a.cfg.Box.Digests(linkPurpose, []byte(id.String())) {
		valid |= subtle.ConstantTimeCompare([]byte(tokenOf(digest)), []byte(token))
	}
	if valid != 1 {
		return errLink()
	}
	return nil
}

func (a *App) linked(ctx context.Context, id hostler.ApprovalID, token string) (out hostler.Approval, project string, err error) {
	if err := a.CheckLink(id, token); err != nil {
		return out, "", err
	}
	err = a.store.View(ctx, func(tx *store.Tx) error {
		row, name, err := tx.ApprovalByID(id)
		if err != nil {
			return err
		}
		if row == nil || row.State != hostler.ApprovalWaiting || !tx.Now().Before(row.CreatedAt.Add(linkSpan)) ||
			!row.ExpiresAt.IsZero() && !tx.Now().Before(row.ExpiresAt) {
			return errLink()
		}
		project = name
		out, err = newScope(tx, grant{app: a, project: row.Project}).approvalOf(row, id)
		return err
	})
	return out, project, err
}

// errLink is the same for a wrong link and one that has done its work: neither tells more.
func errLink() error {
	return hostler.Errorf(hostler.CodeNotFound,
		"the link has been used, has expired or is wrong; see 'hostler approval list'",
		"链接已使用、已过期或有误；请执行 'hostler approval list' 查看")
}

// LinkedDecision is a decision by a link.
type LinkedDecision struct {
	hostler.DecisionInput
	Approve bool
	// Login returns the person who decides, in the project of the approval.
	Login func(project string) (auth.Caller, error)
}

// DecideLinked decides on the approval of a link, as the person whom Login returns.
func (a *App) DecideLinked(
	ctx context.Context, id hostler.ApprovalID, token string, in LinkedDecision,
) (hostler.Approval, error) {
	_, project, err := a.linked(ctx, id, token)
	if err != nil {
		return hostler.Approval{}, err
	}
	c, err := in.Login(project)
	if err != nil {
		return hostler.Approval{}, err
	}
	if in.Approve {
		return a.Approve(ctx, c, id, in.DecisionInput)
	}
	return a.Reject(ctx, c, id, in.DecisionInput)
}

package app

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// refusalEvery is how often refusals by one rule are recorded for one user; the others are
// counted in the next record.
const refusalEvery = 10 * time.Second

// maxRefusals bounds what is kept to limit the records.
const maxRefusals = 10_000

// refusalKey is what refusals are counted by.
type refusalKey struct {
	project hostler.ProjectID
	user    hostler.UserID
	rules   string
}

// refusalLimit limits how often refusals are recorded.
type refusalLimit struct {
	mu   sync.Mutex
	next map[refusalKey]time.Time
	more map[refusalKey]int // refusals since the last record
}

// take reports whether to record n refusals now, and how many there were since the last
// record.
func (l *refusalLimit) take(k refusalKey, n int, now time.Time) (count int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil || len(l.next) >= maxRefusals {
		l.next, l.more = map[refusalKey]time.Time{}, map[refusalKey]int{}
	}
	l.more[k] += n
	if now.Before(l.next[k]) {
		return 0, false
	}
	count = l.more[k]
	l.next[k], l.more[k] = now.Add(refusalEvery), 0
	return count, true
}

// recordRuleRefusal records in the audit, and as an event, that command rules refused jobs;
// other errors are none of its business.
// The detail holds no text of a command: it may contain a secret. A failure is logged: it
// must not change the answer.
func (a *App) recordRuleRefusal(ctx context.Context, g grant, errs ...error) {
	counts := map[string]int{}
	var first *refused
	for _, err := range errs {
		if r := ruleRefusal(err); r != nil {
			counts[strings.Join(r.rules, ",")]++
			if first == nil {
				first = r
			}
		}
	}
	for rules, n := range counts {
		count, ok := a.refusals.take(refusalKey{g.project, g.caller.UserID, rules}, n, a.cfg.Now())
		if ok {
			a.writeRuleRefusal(ctx, g, rules, first.action, count)
		}
	}
}

func (a *App) writeRuleRefusal(ctx context.Context, g grant, rules, action string, count int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTime)
	defer cancel()
	detail, err := json.Marshal(map[string]any{"action": action, "count": count})
	st := a.store
	if g.unattended {
		st = a.work
	}
	if err == nil {
		err = st.InTx(ctx, func(tx *store.Tx) error {
			tx.Emit(g.project, hostler.EventCommandRefused, hostler.ObjectEvent{Object: rules, By: g.caller.User})
			return tx.AppendAudit(g.project, hostler.Audit{
				User: g.caller.User, UserID: g.caller.UserID, Key: g.caller.Key, Remote: g.caller.Remote,
				Verb: "rule.refuse", Object: rules, Detail: detail,
			})
		})
	}
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "cannot record a refusal by command rules", "rules", rules, "err", err)
	}
}

package store

import "hostler.dev/hostler/internal/sqldb"

// The topics that a server can subscribe to.
const (
	TopicWork       sqldb.Topic = iota // jobs were added to ready or sched
	TopicOutbox                        // events wait to be published; this process only
	TopicEvents                        // events were published
	TopicDeliveries                    // deliveries of webhooks became pending
	TopicRuns                          // runs must be looked at
	TopicAudit                         // rows of the audit wait to be chained; this process only
)

// localTopics are not sent to other servers: the server that writes an event also
// publishes it, and the one that writes a row of the audit chains it.
var localTopics = sqldb.Topics(TopicOutbox, TopicAudit)

// Subscribe returns a channel that receives when there may be something new; see
// [sqldb.Driver].
func (s *Store) Subscribe(t sqldb.Topic) (notified <-chan struct{}, stop func()) {
	return s.db.Subscribe(t)
}

// Notify notifies the subscribers of t on every server, once the transaction has
// committed.
func (tx *Tx) Notify(t sqldb.Topic) { tx.notify.Add(t) }

// notifyWork notifies the engines, when there is something for them.
func (tx *Tx) notifyWork(when bool) {
	if when {
		tx.Notify(TopicWork)
	}
}

// notify sends the notifications of a committed transaction.
func notify(d sqldb.Driver, topics sqldb.TopicSet) {
	if local := topics & localTopics; local != 0 {
		d.NotifyLocal(local)
	}
	if shared := topics &^ localTopics; shared != 0 {
		d.Notify(shared)
	}
}

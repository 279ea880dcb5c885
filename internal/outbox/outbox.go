// Package outbox takes committed events from the database to their readers: the
// [Publisher] gives them their order, and the [Stream] hands them to the clients
// that follow them live.
//
// # Model
//
// A transaction that changes something writes its events into the outbox table,
// so that a change and its events commit together or not at all. After the commit
// an event passes two stages:
//
//	transaction ──▶ outbox ──Publisher──▶ event ──Stream──▶ Reader ──▶ a client
//	                                        └──▶ package notify ──▶ webhooks
//
// The Publisher moves rows from the outbox to the event table and numbers them.
// Positions are given here and not by the writing transactions, because these
// commit in another order than they take numbers from a sequence: a reader that
// had passed position 8 would never see a 7 that commits later. It reads
// no event, and does nothing else: no webhook delays the readers.
//
// A Stream follows the event table on behalf of all readers of a server. One loop,
// which runs only while there are readers, reads and renders each new event once
// and buffers the newest. A Reader is a position and a filter: it pulls from the
// buffer, or page by page from the database when it resumes further back.
//
// # Invariants
//
//   - Positions grow in the order in which events become readable.
//   - An event is published once.
//   - A Reader gets each event after its position that passes its filter once, in
//     the order of positions, or the number of those that are no longer stored. When the
//     database loses events that it has read, it is told, and gets all that are new.
//   - A slow Reader delays no other, and holds one small batch of memory.
package outbox

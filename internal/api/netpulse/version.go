package netpulse

import (
	"strings"
	"time"
)

// Version is one of the two forms of the calls.
type Version int

// The versions.
const (
	Page Version = iota // NetPulse's documentation
	SDK                 // NetPulse 0.3 and its Python client
)

// Prefix begins the paths of the SDK's version.
const Prefix = "/netpulse/0.3"

func (v Version) prefix() string {
	if v == SDK {
		return Prefix
	}
	return ""
}

// Envelope is around every answer that is not an error.
type Envelope[T any] struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    T      `json:"data"`
}

// Success wraps the data of an answer with its HTTP status.
func Success[T any](status int, data T) Envelope[T] {
	return Envelope[T]{Code: status, Message: "success", Data: data}
}

// The names of NetPulse's queues. A device's queue has the device's address after the
// prefix.
const (
	fifo         = "FifoQ"
	pinnedPrefix = "pinned_" // of the page's version
	hostPrefix   = "HostQ_"  // of the SDK's
)

// Queue is what the name of a queue means.
type Queue struct {
	Fifo bool   // jobs that are bound to no device
	Host string // the device that its jobs are bound to
	Own  string // one of Hostler's own queues
}

// ParseQueue reads the name of a queue in either version.
func ParseQueue(name string) Queue {
	for _, prefix := range []string{pinnedPrefix, hostPrefix} {
		if host, ok := strings.CutPrefix(name, prefix); ok && host != "" {
			return Queue{Host: host}
		}
	}
	if name == fifo {
		return Queue{Fifo: true}
	}
	return Queue{Own: name}
}

// deviceQueue is the name of a device's queue.
func (v Version) deviceQueue(host string) string {
	if v == SDK {
		return hostPrefix + host
	}
	return pinnedPrefix + host
}

// timeForm is ISO 8601 with the offset as digits: older Pythons do not read Z.
const timeForm = "2006-01-02T15:04:05.000000-07:00"

func stamp(t *time.Time) *string {
	if t == nil || t.IsZero() {
		return nil
	}
	s := t.Format(timeForm)
	return &s
}

// span is the seconds between two times; nil when one of them is not known.
func span(from, to *time.Time) *float64 {
	if from == nil || to == nil {
		return nil
	}
	s := max(0, to.Sub(*from).Seconds())
	return &s
}

package api_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// TestStreamsEndWithTheRight: a stream is no way to keep a right that was taken
// away, on whichever server.
func TestStreamsEndWithTheRight(t *testing.T) { eachEnv(t, streamsEnd) }

func streamsEnd(t *testing.T, w *env) {
	second, _ := w.server(t)
	job := w.makeJob(t, operator)
	d := w.manualWorker(t)
	d.appendLog(t, d.lease(t), 1, "before\n")
	me, err := w.client(t, viewer).Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	user := func(body string) func() {
		return func() { w.mustDo(t, admin, "PATCH", "/api/v1/users/"+viewer, body, nil) }
	}
	for _, c := range []struct {
		name      string
		end, undo func()
		want      hostler.Code
	}{
		{"role", user(`{"roles":{"default":""}}`), user(`{"roles":{"default":"viewer"}}`), hostler.CodeForbidden},
		{"role here", user(`{"roles":{"default":"","other":"viewer"}}`), user(`{"roles":{"default":"viewer"}}`), hostler.CodeForbidden},
		{"user", user(`{"disabled":true}`), user(`{"disabled":false}`), hostler.CodeUnauthenticated},
		{"key", func() { w.mustDo(t, admin, "DELETE", "/api/v1/keys/"+me.Key.String(), "", nil) }, func() {}, hostler.CodeUnauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			ended := make(chan error, 4)
			var open sync.WaitGroup
			for _, url := range []string{w.URL, second.URL} {
				sdk, err := client.New(url, w.keys[viewer], client.WithRetries(0))
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the viewer may look", func() bool {
					_, err := sdk.Job(ctx, job.ID)
					return err == nil
				})
				open.Add(2)
				go func() { ended <- listen(sdk.Events(ctx, hostler.EventFilter{}, 0), open.Done) }()
				go func() { ended <- listen(sdk.Follow(ctx, job.ID, 0), open.Done) }()
			}
			open.Wait()
			c.end()
			for range cap(ended) {
				if err := <-ended; hostler.CodeOf(err) != c.want {
					t.Errorf("a stream ended with %v, want %s", err, c.want)
				}
			}
			c.undo()
		})
	}
}

// listen calls begun when a stream has begun, and returns the error with which it ends.
func listen[T any](stream iter.Seq2[T, error], begun func()) (end error) {
	begun = sync.OnceFunc(begun)
	for _, end = range stream {
		begun()
	}
	begun()
	return end
}

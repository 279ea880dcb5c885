package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/native"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/inbound"
)

// inboundBodies is how many bodies of requests to triggers are in memory at once, and
// inboundWait how long others wait.
const (
	inboundBodies = 16
	inboundWait   = 10 * time.Second
)

// inboundRoute receives the requests to inbound triggers.
func inboundRoute(a *app.App) rest.Plain {
	in := &inboundRequests{a, make(chan struct{}, inboundBodies)}
	return rest.Plain{Pattern: "POST " + app.InboundPath + "{token}", Dialect: native.Dialect, Serve: in.receive}
}

type inboundRequests struct {
	app    *app.App
	bodies chan struct{}
}

// receive answers a wrong URL like a wrong signature, after it has read a body that it does
// not keep in memory.
func (in *inboundRequests) receive(w http.ResponseWriter, r *http.Request) error {
	token := r.PathValue("token")
	known, err := in.app.InboundKnown(r.Context(), token)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, inbound.MaxBody)
	var body []byte
	if known {
		if err := in.acquire(r); err != nil {
			return err
		}
		defer func() { <-in.bodies }()
		body, err = io.ReadAll(r.Body)
	} else {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return hostler.Errorf(hostler.CodeTooLarge, "the body must be at most 1 MiB", "请求体最大 1 MiB")
	}
	if err != nil {
		return hostler.Errorf(hostler.CodeMalformed, "the body cannot be read", "无法读取请求体")
	}
	out, err := in.app.ReceiveInbound(r.Context(), token,
		inbound.Request{Header: r.Header.Get, Body: body}, rest.ClientAddr(r))
	if hostler.CodeOf(err) == hostler.CodeUnauthenticated {
		return cmp.Or(rest.WrongSecret(r), err) // guesses are limited like those of keys
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if out.State == hostler.InboundAccepted {
		w.WriteHeader(http.StatusAccepted)
	}
	return json.NewEncoder(w).Encode(out)
}

// acquire waits until a further body may be in memory.
func (in *inboundRequests) acquire(r *http.Request) error {
	timer := time.NewTimer(inboundWait)
	defer timer.Stop()
	select {
	case in.bodies <- struct{}{}:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	case <-timer.C:
		return hostler.Errorf(hostler.CodeUnavailable, "too many requests at once; try again later", "同时请求过多；请稍后再试")
	}
}

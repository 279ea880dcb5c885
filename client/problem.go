package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

// unreachable is the error of a request without an answer.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := hostler.Errorf(hostler.CodeUnavailable,
		"cannot reach Hostler at %s: %v", "无法连接位于 %s 的 Hostler：%v", c.base.Redacted(), reason(err))
	e.Cause = err
	return e
}

// reason drops the method and address that net/http puts before the reason.
func reason(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// wireProblem is an RFC 9457 problem as Hostler sends it.
type wireProblem struct {
	Title  string               `json:"title"`
	Detail string               `json:"detail"`
	Code   hostler.Code         `json:"code"`
	Text   hostler.Text         `json:"text"`
	Fields []hostler.FieldError `json:"fields"`
}

// problem reads the error from an answer.
func problem(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	err := problemOf(body, res.StatusCode)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		e.RetryAfter, _ = strconv.Atoi(res.Header.Get("Retry-After"))
	}
	return err
}

// problemOf reads the error from a problem as JSON.
func problemOf(text []byte, status int) error {
	var p wireProblem
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return notHostler(status, err)
	}
	e := &hostler.Error{Code: p.Code, Text: p.Text, Fields: p.Fields}
	if e.Text.EN == "" {
		text := cmp.Or(p.Detail, p.Title)
		e.Text = hostler.Text{EN: text, ZH: text}
	}
	return e
}

// notHostler is the error of an answer that does not come from Hostler but from a proxy,
// or from another program at that address.
func notHostler(status int, cause error) error {
	code := hostler.CodeInternal
	switch status {
	case http.StatusUnauthorized:
		code = hostler.CodeUnauthenticated
	case http.StatusForbidden:
		code = hostler.CodeForbidden
	case http.StatusNotFound:
		code = hostler.CodeNotFound
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = hostler.CodeUnavailable
	}
	what := fmt.Sprintf("%d %s", status, http.StatusText(status))
	e := hostler.Errorf(code,
		"the answer (%s) is not Hostler's; check the address, and the proxy if there is one",
		"收到的响应（%s）不是来自 Hostler；请检查地址以及代理（如有）", what)
	e.Cause = cause
	return e
}

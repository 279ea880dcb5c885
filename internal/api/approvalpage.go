package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/native"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// This file serves the page behind the link of an approval notice. A GET shows what would
// run and changes nothing, whoever fetches it: chats fetch links to preview them. The POST
// of its form decides, with the API key of a person. The page runs no script.

const (
	approvalPath = "/approve/{id}/{token}"
	maxForm      = 16 << 10
	// maxShownPlan bounds the plan that the page shows; a larger one is not decided there.
	maxShownPlan = 256 << 10
)

const pageStyle = `body{font:16px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}` +
	`pre{background:#f4f4f4;padding:1em;overflow:auto;max-height:30em}label{display:block;margin:.7em 0}` +
	`input,textarea{width:100%;font:inherit}button{font:inherit;padding:.4em 1.5em;margin-right:1em}dt{font-weight:bold}`

// pagePolicy lets the page have its style and its form, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}()

// pageTexts are the words of the page.
var pageTexts = map[hostler.Lang]map[string]string{
	hostler.LangEN: {
		"run": "Run", "step": "Step", "requester": "Requester", "project": "Asked at", "expires": "Expires",
		"plan": "What will run if it is approved", "key": "Your API key", "comment": "Comment (required to reject)",
		"approve": "Approve", "reject": "Reject", "back": "Nothing was decided.",
		"large":    "The plan is too large for this page: use 'hostler approval show' and 'hostler approve'.",
		"approved": "Approved.", "rejected": "Rejected.", "counted": "Your approval is counted; more people must approve.",
	},
	hostler.LangZH: {
		"run": "执行", "step": "步骤", "requester": "发起人", "project": "请求时间", "expires": "过期时间",
		"plan": "通过后将执行的内容", "key": "您的 API 密钥", "comment": "意见（拒绝时必填）",
		"approve": "通过", "reject": "拒绝", "back": "未作出任何决定。",
		"large":    "内容过大，无法在此页面显示：请使用 'hostler approval show' 和 'hostler approve'。",
		"approved": "已通过。", "rejected": "已拒绝。", "counted": "您的通过已计入，还需要其他人审批。",
	},
}

var approvalPage = template.Must(template.New("approval").Parse(`<!doctype html>
<html lang="{{.Lang}}"><head><meta charset="utf-8"><meta name="robots" content="noindex">
<meta name="viewport" content="width=device-width"><title>Hostler</title><style>` + pageStyle + `</style></head><body>
{{with .Message}}<p role="status"><strong>{{.}}</strong></p>{{end}}
{{with .Approval}}<h1>{{.Title}}</h1>
<dl><dt>{{$.T.run}}</dt><dd>{{.RunName}} ({{.Run}})</dd><dt>{{$.T.step}}</dt><dd>{{.Step}}</dd>
<dt>{{$.T.requester}}</dt><dd>{{.Requester}}</dd><dt>{{$.T.project}}</dt><dd>{{$.At}}</dd>
{{with $.Expires}}<dt>{{$.T.expires}}</dt><dd>{{.}}</dd>{{end}}</dl>
<h2>{{$.T.plan}}</h2>
{{if $.Plan}}<pre>{{$.Plan}}</pre><p><code>SHA-256 {{.Digest}}</code></p>
<form method="post" autocomplete="off"><input type="hidden" name="digest" value="{{.Digest}}">
<label>{{$.T.key}} <input type="password" name="key" required maxlength="200" autocomplete="off"></label>
<label>{{$.T.comment}} <textarea name="comment" rows="3" maxlength="2000"></textarea></label>
<button name="decision" value="approve">{{$.T.approve}}</button>
<button name="decision" value="reject">{{$.T.reject}}</button></form>{{else}}<p>{{$.T.large}}</p>{{end}}{{end}}
</body></html>
`))

// pageView is what the page shows.
type pageView struct {
	Lang     hostler.Lang
	T        map[string]string
	Message  string
	Approval *hostler.Approval
	Plan     string
	At       string
	Expires  string
}

// approvalRoutes are the routes of the page.
func approvalRoutes(a *app.App) []rest.Plain {
	p := &approvalPages{a}
	return []rest.Plain{
		{Pattern: "GET " + approvalPath, Dialect: native.Dialect, Serve: p.show, Fail: p.fail},
		{Pattern: "POST " + approvalPath, Dialect: native.Dialect, Serve: p.decide, Fail: p.fail},
	}
}

type approvalPages struct{ app *app.App }

// show asks.
func (p *approvalPages) show(w http.ResponseWriter, r *http.Request) error {
	id, token, err := p.link(r)
	if err != nil {
		return err
	}
	found, err := p.app.LinkedApproval(r.Context(), id, token)
	if err != nil {
		return err
	}
	return p.write(w, r, http.StatusOK, &found, "")
}

// link returns the link of a request. Guesses are limited and recorded like those of keys.
func (p *approvalPages) link(r *http.Request) (id hostler.ApprovalID, token string, err error) {
	id, token = linkOf(r)
	if err = p.app.CheckLink(id, token); err != nil {
		err = cmp.Or(rest.WrongSecret(r), err)
	}
	return id, token, err
}

// linkOf reads the link of a request; a wrong one has no approval.
func linkOf(r *http.Request) (id hostler.ApprovalID, token string) {
	if id.UnmarshalText([]byte(r.PathValue("id"))) != nil {
		return 0, ""
	}
	return id, r.PathValue("token")
}

// decide decides. Browsers that were led here by another site are refused; without the key
// in the form such a request could do nothing anyway.
func (p *approvalPages) decide(w http.ResponseWriter, r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return hostler.Errorf(hostler.CodeForbidden, "open the link itself and decide there",
			"请直接打开链接再作决定")
	}
	id, token, err := p.link(r)
	if err != nil {
		return err // before the body is read
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return hostler.Errorf(hostler.CodeMalformed, "the form cannot be read", "无法读取表单")
	}
	decision := r.PostForm.Get("decision")
	if decision != "approve" && decision != "reject" {
		return hostler.Invalid("decision", "must be approve or reject", "须为 approve 或 reject")
	}
	done, err := p.app.DecideLinked(r.Context(), id, token, app.LinkedDecision{
		Approve: decision == "approve",
		Login: func(project string) (auth.Caller, error) {
			return rest.Login(r, strings.TrimSpace(r.PostForm.Get("key")), project)
		},
		DecisionInput: hostler.DecisionInput{Digest: r.PostForm.Get("digest"), Comment: r.PostForm.Get("comment")},
	})
	if err != nil {
		return err
	}
	word := map[hostler.ApprovalState]string{
		hostler.ApprovalApproved: "approved", hostler.ApprovalRejected: "rejected",
	}[done.State]
	return p.write(w, r, http.StatusOK, nil, pageTexts[langOf(r)][cmp.Or(word, "counted")])
}

// fail tells why nothing was decided, and asks again as long as the link is good.
func (p *approvalPages) fail(w http.ResponseWriter, r *http.Request, problem *rest.Problem) {
	message := problem.Line() + " " + pageTexts[langOf(r)]["back"]
	var shown *hostler.Approval
	id, token := linkOf(r)
	if found, err := p.app.LinkedApproval(r.Context(), id, token); err == nil && r.Method == http.MethodPost {
		shown = &found
	}
	if err := p.write(w, r, problem.Status, shown, message); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func langOf(r *http.Request) hostler.Lang {
	return rest.Lang(r.Header.Get("Accept-Language"), hostler.LangEN)
}

// write writes the page: an approval to decide on, if it is still asked for, and a message.
func (p *approvalPages) write(
	w http.ResponseWriter, r *http.Request, status int, a *hostler.Approval, message string,
) error {
	lang := langOf(r)
	v := pageView{Lang: lang, T: pageTexts[lang], Approval: a, Message: message}
	if a != nil {
		v.At = a.CreatedAt.UTC().Format(time.DateTime) + " UTC"
		if a.ExpiresAt != nil {
			v.Expires = a.ExpiresAt.UTC().Format(time.DateTime) + " UTC"
		}
		var plan bytes.Buffer
		if len(a.Plan) <= maxShownPlan && json.Indent(&plan, a.Plan, "", "  ") == nil {
			v.Plan = plan.String()
		}
	}
	var page bytes.Buffer
	if err := approvalPage.Execute(&page, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Robots-Tag", "noindex, nofollow")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the client may have disconnected
	return nil
}

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
	"hostler.dev/hostler/internal/auth"
)

// prefix is where the native API begins.
const prefix = "/api/v1"

// Routes is the whole surface, but for the pages that are no operations: see
// plainRoutes.
func Routes() []Route {
	return slices.Concat(nativeRoutes(), webhookRoutes(), taskRoutes(), netpulseRoutes())
}

func nativeRoutes() []Route {
	get := func(path string, a Access, en, zh string) Route {
		return Route{Method: http.MethodGet, Path: prefix + path, Access: a, Summary: text(en, zh)}
	}
	post := func(path string, a Access, en, zh string) Route {
		return Route{Method: http.MethodPost, Path: prefix + path, Access: a, Summary: text(en, zh)}
	}
	put := func(path string, a Access, en, zh string) Route {
		return Route{Method: http.MethodPut, Path: prefix + path, Access: a, Summary: text(en, zh)}
	}
	patch := func(path string, a Access, en, zh string) Route {
		return Route{Method: http.MethodPatch, Path: prefix + path, Access: a, Summary: text(en, zh)}
	}
	del := func(path string, a Access, en, zh string) Route {
		return Route{Method: http.MethodDelete, Path: prefix + path, Access: a, Summary: text(en, zh)}
	}
	return []Route{
		handle(get("/version", public(), "The server's version", "服务器版本"), version),
		handle(get("/me", needs(auth.OwnKeys), "Who the caller is and what it may do", "当前调用者及其权限"),
			func(ctx context.Context, c call, _ *none) (hostler.Me, error) { return c.app.Me(ctx, c.Caller) }),

		handle(get("/projects", needs(auth.OwnKeys), "List projects", "列出项目"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.Project], error) {
				return c.app.Projects(ctx, c.Caller, in.page())
			}),
		handle(created(post("/projects", needs(auth.CreateProject), "Make a project", "创建项目")),
			func(ctx context.Context, c call, in *Payload[hostler.ProjectInput]) (hostler.Project, error) {
				return c.app.CreateProject(ctx, c.Caller, in.Body)
			}),

		handle(get("/users", needs(auth.ManageUsers), "List users", "列出用户"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.User], error) {
				return c.app.Users(ctx, c.Caller, in.page())
			}),
		handle(created(post("/users", needs(auth.ManageUsers), "Make a user with roles", "创建用户并授予角色")),
			func(ctx context.Context, c call, in *Payload[hostler.UserInput]) (hostler.User, error) {
				return c.app.CreateUser(ctx, c.Caller, in.Body)
			}),
		handle(get("/users/{name}", needs(auth.ManageUsers), "Read a user", "查看用户"),
			func(ctx context.Context, c call, in *Named) (hostler.User, error) {
				return c.app.User(ctx, c.Caller, in.Name)
			}),
		handle(patch("/users/{name}", needs(auth.ManageUsers), "Disable or enable a user, or change its roles", "停用、启用用户或修改其角色"),
			func(ctx context.Context, c call, in *struct {
				Named
				Payload[hostler.UserChange]
			},
			) (hostler.User, error) {
				return c.app.ChangeUser(ctx, c.Caller, in.Name, in.Body)
			}),

		handle(get("/keys", needs(auth.OwnKeys), "List API keys", "列出 API 密钥"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.Key], error) {
				return c.app.Keys(ctx, c.Caller, in.page())
			}),
		handle(created(post("/keys", needs(auth.OwnKeys), "Make an API key; its secret is shown this once", "创建 API 密钥，其内容仅显示一次")),
			func(ctx context.Context, c call, in *Payload[hostler.KeyInput]) (hostler.KeyCreated, error) {
				return c.app.CreateKey(ctx, c.Caller, in.Body)
			}),
		handle(created(post("/keys/{id}/rotate", needs(auth.OwnKeys), "Make a successor of a key; the old one stays valid for a while", "轮换密钥，旧密钥在一段时间内仍有效")),
			func(ctx context.Context, c call, in *KeyRef) (hostler.KeyCreated, error) {
				return c.app.RotateKey(ctx, c.Caller, in.ID.V)
			}),
		handle(del("/keys/{id}", needs(auth.OwnKeys), "Revoke a key", "吊销密钥"),
			func(ctx context.Context, c call, in *KeyRef) (hostler.Key, error) {
				return c.app.RevokeKey(ctx, c.Caller, in.ID.V)
			}),

		handle(get("/assets", needs(auth.ReadAsset), "List assets", "列出资产"),
			func(ctx context.Context, c call, in *AssetPage) (hostler.List[hostler.Asset], error) {
				labels, err := in.labels()
				if err != nil {
					return hostler.List[hostler.Asset]{}, err
				}
				return c.app.Assets(ctx, c.Caller, labels, in.page())
			}),
		handle(created(post("/assets", needs(auth.WriteAsset), "Make an asset", "创建资产")),
			func(ctx context.Context, c call, in *Payload[hostler.AssetInput]) (hostler.Asset, error) {
				return c.app.CreateAsset(ctx, c.Caller, in.Body)
			}),
		handleCSV(post("/assets/import", needs(auth.WriteAsset), "Make and change assets from a file of CSV, all or none", "从 CSV 文件导入资产，全部成功或全部不变"), importAssets),
		handleStream(get("/assets.csv", needs(auth.ReadAsset), "Write assets as a file of CSV", "将资产导出为 CSV 文件"), documentExport, exportAssets),
		handle(get("/assets/{asset}", needs(auth.ReadAsset), "Read an asset by name or id", "按名称或 ID 查看资产"),
			func(ctx context.Context, c call, in *AssetRef) (hostler.Asset, error) {
				return c.app.Asset(ctx, c.Caller, in.Asset)
			}),
		handle(put("/assets/{asset}", needs(auth.WriteAsset), "Replace an asset", "替换资产"),
			func(ctx context.Context, c call, in *struct {
				AssetRef
				Payload[hostler.AssetInput]
			},
			) (hostler.Asset, error) {
				return c.app.PutAsset(ctx, c.Caller, in.Asset, in.Body)
			}),
		handle(del("/assets/{asset}", needs(auth.WriteAsset), "Delete an asset; its history stays", "删除资产，保留其历史"),
			func(ctx context.Context, c call, in *AssetRef) (hostler.Asset, error) {
				return c.app.DeleteAsset(ctx, c.Caller, in.Asset)
			}),
		handle(get("/assets/{asset}/hostkeys", needs(auth.ReadHostKey), "List the SSH host keys seen at an asset's address", "列出资产地址上出现过的 SSH 主机密钥"),
			func(ctx context.Context, c call, in *AssetRef) (hostler.List[hostler.HostKey], error) {
				return listOf(c.app.HostKeys(ctx, c.Caller, in.Asset))
			}),
		handle(post("/assets/{asset}/hostkeys/{id}/accept", needs(auth.DecideHostKey), "Pin an offered host key", "接受主机密钥"),
			func(ctx context.Context, c call, in *HostKeyRef) (hostler.HostKey, error) {
				return c.app.AcceptHostKey(ctx, c.Caller, in.Asset, in.ID.V)
			}),
		handle(post("/assets/{asset}/hostkeys/{id}/revoke", needs(auth.DecideHostKey), "Take the trust in a host key away", "吊销主机密钥"),
			func(ctx context.Context, c call, in *HostKeyRef) (hostler.HostKey, error) {
				return c.app.RevokeHostKey(ctx, c.Caller, in.Asset, in.ID.V)
			}),

		handle(get("/credentials", needs(auth.ReadCredential), "List credentials, without their secrets", "列出凭据（不含机密内容）"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.Credential], error) {
				return c.app.Credentials(ctx, c.Caller, in.page())
			}),
		handle(created(post("/credentials", needs(auth.WriteCredential), "Seal a new credential", "保存新凭据")),
			func(ctx context.Context, c call, in *Payload[hostler.CredentialInput]) (hostler.Credential, error) {
				return c.app.CreateCredential(ctx, c.Caller, in.Body)
			}),
		handle(get("/credentials/{name}", needs(auth.ReadCredential), "Read a credential, without its secret", "查看凭据（不含机密内容）"),
			func(ctx context.Context, c call, in *Named) (hostler.Credential, error) {
				return c.app.Credential(ctx, c.Caller, in.Name)
			}),
		handle(put("/credentials/{name}", needs(auth.WriteCredential), "Replace a credential's content", "替换凭据内容"),
			func(ctx context.Context, c call, in *struct {
				Named
				Payload[hostler.CredentialInput]
			},
			) (hostler.Credential, error) {
				return c.app.PutCredential(ctx, c.Caller, in.Name, in.Body)
			}),
		handleEmpty(del("/credentials/{name}", needs(auth.WriteCredential), "Delete a credential that no asset uses", "删除未被资产使用的凭据"),
			func(ctx context.Context, c call, in *Named) error {
				return c.app.DeleteCredential(ctx, c.Caller, in.Name)
			}),

		handle(get("/actions", needs(auth.ReadAction), "List the actions", "列出动作"),
			func(ctx context.Context, c call, _ *none) (hostler.List[hostler.ActionInfo], error) {
				return listOf(c.app.Actions(ctx, c.Caller))
			}),
		handle(get("/actions/{name}", needs(auth.ReadAction), "Read an action with the JSON Schema of its args", "查看动作及其参数的 JSON Schema"),
			func(ctx context.Context, c call, in *Named) (hostler.ActionInfo, error) {
				return c.app.Action(ctx, c.Caller, in.Name)
			}),

		handle(created(post("/jobs", needs(auth.RunJob), "Make one job, or one per asset", "创建作业，或为每个资产创建一个")), createJobs),
		handle(get("/jobs", needs(auth.ReadJob), "List jobs, newest first", "列出作业，最新在前"),
			func(ctx context.Context, c call, in *jobPage) (hostler.List[hostler.Job], error) {
				return c.app.Jobs(ctx, c.Caller, in.filter(), in.page())
			}),
		handle(get("/jobs/{id}", needs(auth.ReadJob), "Read a job", "查看作业"),
			func(ctx context.Context, c call, in *JobRef) (hostler.Job, error) {
				return c.app.Job(ctx, c.Caller, in.ID.V)
			}),
		handle(get("/jobs/{id}/attempts", needs(auth.ReadJob), "List the tries of a job", "列出作业的各次尝试"),
			func(ctx context.Context, c call, in *JobRef) (hostler.List[hostler.Attempt], error) {
				return listOf(c.app.Attempts(ctx, c.Caller, in.ID.V))
			}),
		handle(get("/jobs/{id}/waiting", needs(auth.ReadJob), "Why a job is not running yet", "作业为何尚未运行"),
			func(ctx context.Context, c call, in *JobRef) (hostler.List[hostler.Waiting], error) {
				return listOf(c.app.Waiting(ctx, c.Caller, in.ID.V))
			}),
		handleStream(get("/jobs/{id}/log", needs(auth.ReadJob), "Read a job's output: a page, plain text, or a stream of events", "读取作业输出：分页、纯文本或事件流"),
			documentLog, readLog),
		handle(post("/jobs/{id}/cancel", needs(auth.ChangeJob), "Ask for the end of a job", "取消作业"),
			func(ctx context.Context, c call, in *JobRef) (hostler.Job, error) {
				return c.app.CancelJob(ctx, c.Caller, in.ID.V)
			}),
		handle(created(post("/jobs/{id}/retry", needs(auth.ChangeJob), "Make a new job like an ended one", "以已结束的作业为模板重试")),
			func(ctx context.Context, c call, in *struct {
				JobRef
				Idempotent
			},
			) (hostler.Job, error) {
				return c.app.RetryJob(ctx, c.Caller, in.ID.V, in.Key)
			}),
		handle(post("/jobs/{id}/resolve", needs(auth.ChangeJob), "Decide an unknown job", "裁定结果未知的作业"),
			func(ctx context.Context, c call, in *struct {
				JobRef
				Payload[hostler.ResolveInput]
			},
			) (hostler.Job, error) {
				return c.app.ResolveJob(ctx, c.Caller, in.ID.V, in.Body)
			}),
		handle(post("/jobs/cancel", needs(auth.ChangeJob), "Cancel many jobs", "批量取消作业"),
			func(ctx context.Context, c call, in *Payload[hostler.BulkRequest]) (hostler.BulkResult, error) {
				return c.app.CancelJobs(ctx, c.Caller, in.Body)
			}),
		handle(post("/jobs/retry", needs(auth.ChangeJob), "Retry many jobs", "批量重试作业"),
			func(ctx context.Context, c call, in *struct {
				Idempotent
				Payload[hostler.BulkRequest]
			},
			) (hostler.BulkResult, error) {
				return c.app.RetryJobs(ctx, c.Caller, in.Body, in.Key)
			}),
		handle(post("/jobs/resolve", needs(auth.ChangeJob), "Decide many unknown jobs", "批量裁定结果未知的作业"),
			func(ctx context.Context, c call, in *Payload[hostler.BulkRequest]) (hostler.BulkResult, error) {
				return c.app.ResolveJobs(ctx, c.Caller, in.Body)
			}),
		handle(get("/runs/{id}", needs(auth.ReadJob), "Count the jobs of a run by state", "按状态统计一次执行的作业"),
			func(ctx context.Context, c call, in *RunRef) (hostler.RunSummary, error) {
				return c.app.Run(ctx, c.Caller, in.ID.V)
			}),

		handleStream(get("/events", needs(auth.ReadEvent), "Follow what happens, as a stream of events", "以事件流跟踪发生的变化"),
			documentEvents, followEvents),
		handle(get("/event-types", needs(auth.ReadEvent), "List the types of event", "列出事件类型"),
			func(context.Context, call, *none) (hostler.List[hostler.EventInfo], error) {
				return listOf(hostler.EventCatalogue(), nil)
			}),

		handle(get("/queues", needs(auth.ReadQueue), "List queues", "列出队列"),
			func(ctx context.Context, c call, _ *none) (hostler.List[hostler.Queue], error) {
				return listOf(c.app.Queues(ctx, c.Caller))
			}),
		handle(get("/queues/{name}", needs(auth.ReadQueue), "Read a queue", "查看队列"),
			func(ctx context.Context, c call, in *Named) (hostler.Queue, error) {
				return c.app.Queue(ctx, c.Caller, in.Name)
			}),
		handle(put("/queues/{name}", needs(auth.WriteQueue), "Make a queue, or change its limits", "创建队列或修改其限制"),
			func(ctx context.Context, c call, in *struct {
				Named
				Payload[hostler.QueueLimits]
			},
			) (hostler.Queue, error) {
				return c.app.PutQueue(ctx, c.Caller, in.Name, in.Body)
			}),
		handle(post("/queues/{name}/pause", needs(auth.WriteQueue), "Keep a queue's jobs from starting", "暂停队列"),
			func(ctx context.Context, c call, in *Named) (hostler.Queue, error) {
				return c.app.PauseQueue(ctx, c.Caller, in.Name)
			}),
		handle(post("/queues/{name}/resume", needs(auth.WriteQueue), "End a queue's pause", "恢复队列"),
			func(ctx context.Context, c call, in *Named) (hostler.Queue, error) {
				return c.app.ResumeQueue(ctx, c.Caller, in.Name)
			}),

		handle(get("/workers", needs(auth.ReadWorker), "List workers", "列出工作节点"),
			func(ctx context.Context, c call, _ *none) (hostler.List[hostler.Worker], error) {
				return listOf(c.app.Workers(ctx, c.Caller))
			}),
		handle(post("/workers/{id}/stop", needs(auth.StopWorker), "Stop a worker by force; what it runs is interrupted", "强制停止工作节点，中断其正在运行的作业"), stopWorker),
		handle(post("/workers/{id}/close-session", needs(auth.StopWorker), "Close the connections that a worker keeps to a host", "关闭工作节点与某主机保持的连接"), closeSession),
		handle(get("/audit", needs(auth.ReadAudit), "List what people and keys changed, newest first", "列出审计记录，最新在前"),
			func(ctx context.Context, c call, in *PageQuery) (hostler.List[hostler.Audit], error) {
				return c.app.Audit(ctx, c.Caller, in.page())
			}),
	}
}

func created(r Route) Route {
	r.Status = http.StatusCreated
	return r
}

// mount registers every route, and then the document that describes them.
func (s *server) mount() error {
	api := s.newHuma()
	for _, r := range Routes() {
		r.bind(s, api, s.operation(r))
	}
	describeErrors(api.OpenAPI())
	doc, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	s.openAPI = doc
	for pattern, h := range s.plainRoutes() {
		s.mux.HandleFunc(pattern, h)
	}
	return nil
}

// plainRoutes are the pages that are no operations. They are public, but for
// /health and /metrics, whose rule is Config.OpenHealth.
func (s *server) plainRoutes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /{$}":                           s.home,
		"GET /livez":                         s.livez,
		"GET /readyz":                        s.readyz,
		"GET /health":                        s.guarded(s.health),
		"GET " + netpulse.Prefix + "/health": s.guarded(s.pulseHealth),
		"GET /metrics":                       s.guarded(s.metrics.serve),
		"GET " + prefix + "/openapi.json":    s.serveOpenAPI,
	}
}

func (s *server) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(s.openAPI) // the client may have gone
}

// Inputs that several routes share. Huma reads embedded types only when they are
// exported.
type (
	none struct{}

	// Payload is the JSON body.
	Payload[T any] struct{ Body T }

	// Named is the name in the path.
	Named struct {
		Name string `path:"name" maxLength:"128"`
	}
	// AssetRef is the asset in the path.
	AssetRef struct {
		Asset string `path:"asset" maxLength:"128" doc:"name or id"`
	}
	// JobRef is the job in the path.
	JobRef struct {
		ID param[hostler.JobID, *hostler.JobID] `path:"id"`
	}
	// RunRef is the run in the path.
	RunRef struct {
		ID param[hostler.RunID, *hostler.RunID] `path:"id"`
	}
	// WorkerRef is the worker in the path.
	WorkerRef struct {
		ID param[hostler.WorkerID, *hostler.WorkerID] `path:"id"`
	}
	// KeyRef is the API key in the path.
	KeyRef struct {
		ID param[hostler.KeyID, *hostler.KeyID] `path:"id"`
	}
	// HostKeyRef is the host key in the path, below its asset.
	HostKeyRef struct {
		AssetRef
		ID param[hostler.HostKeyID, *hostler.HostKeyID] `path:"id"`
	}
	// Idempotent is the header of calls that make work.
	Idempotent struct {
		Key string `header:"Idempotency-Key" maxLength:"255" doc:"makes the call harmless to repeat: the second answer is the first one's"`
	}
	// PageQuery asks for a page of a listing.
	PageQuery struct {
		Cursor string `query:"cursor" maxLength:"1024" doc:"next of the page before"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"items of a page; default 100"`
	}
	// AssetPage asks for a page of assets.
	AssetPage struct {
		PageQuery
		Label []string `query:"label,explode" maxItems:"20" doc:"key=value; assets with all of them"`
	}
)

func (p PageQuery) page() hostler.Page { return hostler.Page{Cursor: p.Cursor, Limit: p.Limit} }

func (p AssetPage) labels() (map[string]string, error) {
	labels := map[string]string{}
	for i, l := range p.Label {
		key, value, ok := strings.Cut(l, "=")
		if !ok {
			return nil, hostler.Invalid(fmt.Sprintf("label[%d]", i), "write it as key=value", "请写成 key=value")
		}
		labels[key] = value
	}
	return labels, nil
}

// listOf makes a listing of one page of what has no pages.
func listOf[T any](items []T, err error) (hostler.List[T], error) {
	if items == nil {
		items = []T{}
	}
	return hostler.List[T]{Items: items}, err
}

func version(_ context.Context, c call, _ *none) (hostler.Version, error) {
	return hostler.Version{Version: c.server.cfg.Version, Store: c.app.StoreKind()}, nil
}

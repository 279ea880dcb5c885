// Package cli is the hostler command.
//
// Model: an app is one invocation: its streams, its environment, its language
// and its global flags. Commands stand in one file per object of the glossary;
// each is a thin layer over the client package. Listings go to standard output
// as a table, JSON or YAML; everything else a person reads goes to standard
// error.
//
// Invariants: every text exists in English and Chinese. What came from a server
// is made harmless before it reaches a terminal. No secret is taken from the
// argument list or printed, except a fresh key, once. The exit code is that of
// the error's code, or of the job's outcome.
package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/clicontext"
)

// Exit codes beside those of hostler.Code.
const (
	exitNotSucceeded = 1
	exitUnknown      = 3
	exitInterrupted  = 130
)

// app is one invocation of the command.
type app struct {
	in       *input
	out, err io.Writer
	lang     hostler.Lang
	now      func() time.Time

	// Global flags.
	url, project, context, output string
}

// Main runs the command with the process's arguments and streams and returns
// the exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// The first interrupt ends the waiting; the second ends the process.
	context.AfterFunc(ctx, stop)
	a := &app{in: &input{Reader: os.Stdin, done: ctx.Done()}, out: os.Stdout, err: os.Stderr, lang: language(os.Getenv), now: time.Now}
	return a.run(ctx, os.Args[1:])
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if a.in.interrupted {
		err = context.Canceled
	}
	return a.report(err)
}

// root builds the whole command tree.
func (a *app) root() *cobra.Command {
	root := a.group("hostler", doc{
		short: txt("run operations work on hosts", "在主机上执行运维作业"),
		long: txt(
			"Hostler runs operations work on your hosts and keeps what ran, where, when,\nby whom, with which result.\n\nStart a server with 'hostler serve'. On the same machine every other command\nfinds it by itself; elsewhere set HOSTLER_URL and HOSTLER_KEY.",
			"Hostler 在您的主机上执行运维作业，并记录何时、何地、由谁执行了什么、结果如何。\n\n用 'hostler serve' 启动服务；同一台机器上的其他命令会自动找到它，\n在别的机器上请设置 HOSTLER_URL 和 HOSTLER_KEY。"),
		example: "hostler serve\nhostler asset add web1 --address 192.0.2.10 --label role=web\nhostler job run check_port --asset web1 --arg port=22 --wait",
	},
		a.serveCmd(), a.assetCmd(), a.credentialCmd(), a.actionCmd(), a.jobCmd(), a.runCmd(),
		a.queueCmd(), a.workerCmd(), a.eventsCmd(), a.webhookCmd(), a.deliveryCmd(), a.userCmd(), a.keyCmd(), a.projectCmd(), a.auditCmd(),
		a.backupCmd(), a.restoreCmd(), a.doctorCmd(), a.benchCmd(), a.contextCmd(), a.completionCmd(), a.versionCmd(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	pf := root.PersistentFlags()
	pf.StringVar(&a.url, "url", "", a.t("address of the server (HOSTLER_URL)", "服务器地址（HOSTLER_URL）"))
	pf.StringVar(&a.project, "project", "", a.t("project to work in (HOSTLER_PROJECT)", "所在项目（HOSTLER_PROJECT）"))
	pf.StringVar(&a.context, "context", "", a.t("context to use (HOSTLER_CONTEXT)", "使用的上下文（HOSTLER_CONTEXT）"))
	pf.StringVarP(&a.output, "output", "o", "table", a.t("table, json or yaml", "输出格式：table、json 或 yaml"))
	a.complete(root, "output", fixed("table", "json", "yaml"))
	a.complete(root, "context", contextNames)
	a.complete(root, "project", named(func(c *client.Client) client.Lister[hostler.Project] { return c.Projects },
		func(p hostler.Project) string { return p.Name }))
	a.localise(root)
	return root
}

// report prints the error and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	if o, ok := errors.AsType[*outcomeError](err); ok {
		return o.code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, a.t("interrupted", "已中断"))
		return exitInterrupted
	}
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		e = hostler.Errorf(hostler.CodeInvalid, "%v", "%v", err)
	}
	fmt.Fprintln(a.err, "hostler: "+clean(e.Text.In(a.lang)))
	for _, f := range e.Fields {
		fmt.Fprintf(a.err, "  %s: %s\n", clean(f.Path), clean(f.Text.In(a.lang)))
	}
	if hint := remedy(e.Code).In(a.lang); hint != "" {
		fmt.Fprintln(a.err, hint)
	}
	return e.Code.ExitCode()
}

// remedy says what to do about errors whose text cannot know it.
func remedy(c hostler.Code) hostler.Text {
	switch c {
	case hostler.CodeUnauthenticated:
		return txt("Set HOSTLER_KEY to a valid key, or choose a context with 'hostler context use'.",
			"请将 HOSTLER_KEY 设为有效的密钥，或用 'hostler context use' 选择上下文。")
	case hostler.CodeForbidden:
		return txt("'hostler key list' shows what your key may do; an admin can give you a role.",
			"用 'hostler key list' 查看密钥的权限；可请管理员授予角色。")
	case hostler.CodeUnavailable:
		return txt("Is the server running there? Start one with 'hostler serve', or set HOSTLER_URL.",
			"服务是否在该地址运行？可用 'hostler serve' 启动，或设置 HOSTLER_URL。")
	case hostler.CodeQueueFull:
		return txt("'hostler queue list' shows the queue; try again when it is shorter.",
			"用 'hostler queue list' 查看队列；待队列变短后再试。")
	default:
		return hostler.Text{}
	}
}

// outcomeError ends the command with a code after everything was said.
type outcomeError struct{ code int }

func (e *outcomeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// client makes a client of the chosen server: flags first, then the
// environment, then the context.
func (a *app) client() (*client.Client, error) {
	c, err := a.target()
	if err != nil {
		return nil, err
	}
	opts := []client.Option{client.WithLang(a.lang), client.WithProject(c.Project), client.WithUserAgent("hostler-cli/" + version), client.WithOutage(a.sayOutage)}
	if c.CAFile != "" {
		h, err := trusting(c.CAFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithHTTPClient(h))
	}
	return client.New(c.URL, c.Key, opts...)
}

func (a *app) target() (clicontext.Context, error) {
	var c clicontext.Context
	if name := first(a.context, os.Getenv("HOSTLER_CONTEXT")); name != "" || first(a.url, os.Getenv("HOSTLER_URL")) == "" {
		var err error
		if c, err = savedContext(name); err != nil {
			return c, err
		}
	}
	c.URL = first(a.url, os.Getenv("HOSTLER_URL"), c.URL, "http://127.0.0.1:9000")
	c.Key = first(os.Getenv("HOSTLER_KEY"), c.Key)
	c.Project = first(a.project, os.Getenv("HOSTLER_PROJECT"), c.Project)
	c.CAFile = first(os.Getenv("HOSTLER_CA_FILE"), c.CAFile)
	return c, nil
}

// savedContext reads the named context; "" is the current one, if any.
func savedContext(name string) (clicontext.Context, error) {
	path, err := clicontext.Path()
	if err != nil {
		return clicontext.Context{}, err
	}
	f, err := clicontext.Load(path)
	if err != nil {
		return clicontext.Context{}, err
	}
	c, ok := f.Contexts[first(name, f.Current)]
	if !ok && name != "" {
		return c, hostler.NotFound(txt("context", "上下文"), name)
	}
	return c, nil
}

// trusting is an HTTP client that trusts the certificates of a file besides the
// system's.
func trusting(caFile string) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the CA file cannot be read: %v", "无法读取 CA 文件：%v", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, hostler.Errorf(hostler.CodeInvalid, "%s holds no PEM certificate", "%s 中没有 PEM 证书", caFile)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// language picks the language as the locale says; HOSTLER_LANG wins.
func language(env func(string) string) hostler.Lang {
	locale := first(env("HOSTLER_LANG"), env("LC_ALL"), env("LC_MESSAGES"), env("LANG"))
	if strings.HasPrefix(strings.ToLower(locale), "zh") {
		return hostler.LangZH
	}
	return hostler.LangEN
}

func txt(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }

// t picks the text in the invocation's language.
func (a *app) t(en, zh string) string { return txt(en, zh).In(a.lang) }

// sayOutage says that a stream has lost its server, or with nil that it is back.
func (a *app) sayOutage(err error) {
	if err == nil {
		a.note("connected again", "已重新连接")
		return
	}
	why := err.Error()
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		why = e.Text.In(a.lang)
	}
	a.note("%s; trying again", "%s；正在重试", why)
}

// note says something beside the result, on standard error.
func (a *app) note(en, zh string, args ...any) {
	fmt.Fprintln(a.err, clean(hostler.Textf(en, zh, args...).In(a.lang)))
}

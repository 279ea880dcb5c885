package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/clicontext"
)

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
	if name := cmp.Or(a.context, os.Getenv("HOSTLER_CONTEXT")); name != "" || cmp.Or(a.url, os.Getenv("HOSTLER_URL")) == "" {
		var err error
		if c, err = savedContext(name); err != nil {
			return c, err
		}
	}
	c.URL = cmp.Or(a.url, os.Getenv("HOSTLER_URL"), c.URL, "http://127.0.0.1:9000")
	c.Key = cmp.Or(os.Getenv("HOSTLER_KEY"), c.Key)
	c.Project = cmp.Or(a.project, os.Getenv("HOSTLER_PROJECT"), c.Project)
	c.CAFile = cmp.Or(os.Getenv("HOSTLER_CA_FILE"), c.CAFile)
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
	c, ok := f.Contexts[cmp.Or(name, f.Current)]
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

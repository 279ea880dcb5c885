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

// defaultURL is the address of 'hostler serve' without --listen.
const defaultURL = "http://127.0.0.1:9000"

// client makes a client of the selected server.
func (a *app) client() (*client.Client, error) {
	c, err := a.target()
	if err != nil {
		return nil, err
	}
	opts := []client.Option{
		client.WithLang(a.lang), client.WithProject(c.Project),
		client.WithUserAgent("hostler-cli/" + version), client.WithOutage(a.noteOutage),
	}
	if c.CAFile != "" {
		h, err := clientTrusting(c.CAFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithHTTPClient(h))
	}
	return client.New(c.URL, c.Key, opts...)
}

// target selects the server: flags take precedence over the environment, which
// takes precedence over the saved context. A context is read when it is named, or
// when nothing else gives an address.
func (a *app) target() (clicontext.Context, error) {
	var c clicontext.Context
	url := cmp.Or(a.url, os.Getenv("HOSTLER_URL"))
	if name := cmp.Or(a.context, os.Getenv("HOSTLER_CONTEXT")); name != "" || url == "" {
		var err error
		if c, err = savedContext(name); err != nil {
			return c, err
		}
	}
	c.URL = cmp.Or(url, c.URL, defaultURL)
	c.Key = cmp.Or(os.Getenv("HOSTLER_KEY"), c.Key)
	c.Project = cmp.Or(a.project, os.Getenv("HOSTLER_PROJECT"), c.Project)
	c.CAFile = cmp.Or(os.Getenv("HOSTLER_CA_FILE"), c.CAFile)
	return c, nil
}

// savedContext reads the named context, or with "" the current one, if any.
func savedContext(name string) (clicontext.Context, error) {
	_, f, err := loadContexts()
	if err != nil {
		return clicontext.Context{}, err
	}
	c, ok := f.Contexts[cmp.Or(name, f.Current)]
	if !ok && name != "" {
		return c, contextNotFound(name)
	}
	return c, nil
}

// clientTrusting returns an HTTP client that trusts the certificates of a file
// besides the system's.
func clientTrusting(caFile string) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "cannot read the CA file: %v",
			"无法读取 CA 文件：%v", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"no PEM certificate in %s", "%s 中没有 PEM 证书", caFile)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}

// noteOutage notes that a stream lost its connection, or with nil that it is
// connected again.
func (a *app) noteOutage(err error) {
	if err == nil {
		a.note("connected again", "已重新连接")
		return
	}
	reason := err.Error()
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		reason = e.Text.In(a.lang)
	}
	a.note("%s; reconnecting", "%s；正在重新连接", reason)
}

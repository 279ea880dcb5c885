package http

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
)

// certified starts a server whose certificate expires after d, and returns its URL and
// certificate.
func certified(t *testing.T, d time.Duration, h nethttp.HandlerFunc) (url, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-1000 * time.Hour),
		NotAfter: time.Now().Add(d), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func runCheck(t *testing.T, o Options, args map[string]any) *actiontest.Attempt {
	t.Helper()
	a := actiontest.New(nil, args)
	r, err := action.NewRegistry(Actions(o)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("http_check", a.Call.Args); err != nil {
		t.Fatal(err)
	}
	return a.Run(t.Context(), actiontest.Find(t, Actions(o), "http_check"))
}

func TestHTTPCheck(t *testing.T) {
	url, ca := certified(t, 10*24*time.Hour+time.Hour, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(30 * time.Millisecond) //nolint:forbidigo // the latency that is measured
		case "/broken":
			w.Header().Set("Content-Length", "100")
		case "/gone":
			w.WriteHeader(nethttp.StatusGone)
		}
		_, _ = w.Write([]byte(`{"status": "UP"}`))
	})
	for name, c := range map[string]struct {
		args map[string]any
		want string // in the error; "" for success
	}{
		"good":        {map[string]any{"url": url, "body_pattern": `"status": *"UP"`, "min_certificate_days": 10}, ""},
		"status":      {map[string]any{"url": url + "/gone", "min_certificate_days": 0}, "410 Gone"},
		"body":        {map[string]any{"url": url, "expect_body": "DOWN", "min_certificate_days": 0}, "does not contain"},
		"pattern":     {map[string]any{"url": url, "body_pattern": "^UP$", "min_certificate_days": 0}, "does not match"},
		"latency":     {map[string]any{"url": url + "/slow", "max_latency": "1ms", "min_certificate_days": 0}, "latency"},
		"certificate": {map[string]any{"url": url}, "expires in 10 days, fewer than 14"},
		"two":         {map[string]any{"url": url + "/gone", "expect_body": "x"}, "; the body"},
		"cut":         {map[string]any{"url": url + "/broken", "min_certificate_days": 0}, "connection was lost"},
	} {
		c.args["ca"] = ca
		a := runCheck(t, Options{Allow: loopback}, c.args)
		if c.want == "" {
			a.MustEnd(t, hostler.OutcomeSucceeded, "")
			if got := a.Value.(Checked); *got.CertificateDays != 10 || got.Status != 200 || got.LatencyMS <= 0 || got.CertificateIssuer != "CN=test" {
				t.Errorf("got %+v", got)
			}
			continue
		}
		if a.Outcome != hostler.OutcomeFailed || !strings.Contains(a.Error.Text.EN, c.want) || a.Error.Text.ZH == "" {
			t.Errorf("%s: %s", name, a)
		}
	}
}

func TestHTTPCheckOfBadCertificates(t *testing.T) {
	url, ca := certified(t, -49*time.Hour, func(nethttp.ResponseWriter, *nethttp.Request) {})
	a := runCheck(t, Options{Allow: loopback}, map[string]any{"url": url, "ca": ca})
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	if got, ok := a.Value.(Checked); !ok || *got.CertificateDays != -3 {
		t.Errorf("expired: %s", a)
	}
	runCheck(t, Options{Allow: loopback}, map[string]any{"url": url}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
}

func TestHTTPCheckKeepsToTheEgressRules(t *testing.T) {
	a := runCheck(t, Options{}, map[string]any{"url": "http://127.0.0.1:1/"})
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	a = runCheck(t, Options{}, map[string]any{"url": "http://169.254.169.254/"})
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
}

package netpulse

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Conn is how to reach a device.
type Conn struct {
	Host       string   `json:"host,omitempty" maxLength:"253"`
	Port       int      `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Username   string   `json:"username,omitempty" maxLength:"256"`
	Password   string   `json:"password,omitempty" maxLength:"4096" writeOnly:"true"`
	PrivateKey string   `json:"private_key,omitempty" maxLength:"65536" writeOnly:"true"`
	PKey       string   `json:"pkey,omitempty" maxLength:"65536" writeOnly:"true" doc:"the same as private_key"`
	Passphrase string   `json:"passphrase,omitempty" maxLength:"4096" writeOnly:"true"`
	Secret     string   `json:"secret,omitempty" maxLength:"4096" writeOnly:"true" doc:"enable password"`
	DeviceType string   `json:"device_type,omitempty" maxLength:"64"`
	KeepAlive  *float64 `json:"keepalive,omitempty" minimum:"0" maximum:"86400" doc:"accepted without effect; open connections are probed as the worker is configured"`

	HostKeyPolicy string `json:"host_key_policy,omitempty" enum:"auto_add," doc:"host keys are pinned at first contact, always"`

	Timeout           Ignored `json:"timeout,omitzero"`
	ConnTimeout       Ignored `json:"conn_timeout,omitzero"`
	AuthTimeout       Ignored `json:"auth_timeout,omitzero"`
	BannerTimeout     Ignored `json:"banner_timeout,omitzero"`
	SessionTimeout    Ignored `json:"session_timeout,omitzero"`
	GlobalDelayFactor Ignored `json:"global_delay_factor,omitzero"`
	FastCLI           Ignored `json:"fast_cli,omitzero"`

	KeyFilename   Unsupported `json:"key_filename,omitzero"`
	ProxyHost     Unsupported `json:"proxy_host,omitzero"`
	ProxyPort     Unsupported `json:"proxy_port,omitzero"`
	ProxyUsername Unsupported `json:"proxy_username,omitzero"`
	ProxyPassword Unsupported `json:"proxy_password,omitzero"`
	EnableMode    Unsupported `json:"enable_mode,omitzero"`
}

// unsupported reports which unsupported fields are set.
func (c Conn) unsupported() map[string]bool {
	return map[string]bool{
		"key_filename": c.KeyFilename.Given, "enable_mode": c.EnableMode.Given,
		"proxy_host": c.ProxyHost.Given, "proxy_port": c.ProxyPort.Given,
		"proxy_username": c.ProxyUsername.Given, "proxy_password": c.ProxyPassword.Given,
	}
}

// set reports whether the arguments describe a device.
func (c Conn) set() bool {
	c.KeepAlive, c.HostKeyPolicy = nil, ""
	return c != Conn{}
}

// withDefaults completes a device of a bulk request from the request's own arguments.
// The login is taken as a whole: a device with a key does not get the password.
func (c Conn) withDefaults(base Conn) Conn {
	if c.Password == "" && c.PrivateKey == "" && c.PKey == "" {
		c.Password, c.PrivateKey, c.PKey, c.Passphrase = base.Password, base.PrivateKey, base.PKey, base.Passphrase
	}
	for _, f := range []struct{ to, from *string }{
		{&c.Host, &base.Host}, {&c.Username, &base.Username}, {&c.Secret, &base.Secret}, {&c.DeviceType, &base.DeviceType},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if c.Port == 0 {
		c.Port = base.Port
	}
	return c
}

// Hook is the request that is sent when a job ends.
type Hook struct {
	Name    string            `json:"name,omitempty" enum:"basic,"`
	URL     string            `json:"url" minLength:"1" maxLength:"2048" writeOnly:"true"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH,GET"`
	Headers map[string]string `json:"headers,omitempty" writeOnly:"true"`
	Cookies map[string]string `json:"cookies,omitempty" writeOnly:"true"`
	Auth    []string          `json:"auth,omitempty" minItems:"2" maxItems:"2" writeOnly:"true" doc:"user and password"`
	Timeout float64           `json:"timeout,omitempty" minimum:"0.5" maximum:"120" doc:"seconds; at most 10 is used"`
}

// maxHookTime bounds the request of a Hook.
const maxHookTime = 10 * time.Second

func (h *Hook) jobWebhook() *hostler.JobWebhook {
	if h == nil {
		return nil
	}
	headers := maps.Clone(h.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	if len(h.Cookies) > 0 {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(h.Cookies)) {
			pairs = append(pairs, name+"="+h.Cookies[name])
		}
		headers["Cookie"] = strings.Join(pairs, "; ")
	}
	if len(h.Auth) == 2 {
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(h.Auth[0]+":"+h.Auth[1]))
	}
	return &hostler.JobWebhook{
		URL: h.URL, Method: h.Method, Headers: headers, Format: hostler.FormatNetPulse,
		Timeout: hostler.Duration(min(time.Duration(h.Timeout*float64(time.Second)), maxHookTime)),
	}
}

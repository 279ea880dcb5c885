package netpulse

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
)

// Lines is one line or a list of them.
type Lines []string

// UnmarshalJSON implements json.Unmarshaler. Its error repeats no input.
func (l *Lines) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = nil
		if one != "" {
			*l = Lines{one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// split makes one line of each line of a text: NetPulse takes configuration as one
// text, too. Empty lines say nothing to a device.
func (l Lines) split() Lines {
	var out Lines
	for _, text := range l {
		for line := range strings.Lines(text) {
			if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

// Schema implements huma.SchemaProvider.
func (Lines) Schema(huma.Registry) *huma.Schema {
	line := &huma.Schema{Type: huma.TypeString}
	most := 1000
	return &huma.Schema{
		OneOf:       []*huma.Schema{line, {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, MaxItems: &most}},
		Description: "a text or a list of texts",
	}
}

// Unsupported is a field that NetPulse knows and Hostler does not serve; only null
// is taken.
type Unsupported struct{ Given bool }

// UnmarshalJSON implements json.Unmarshaler.
func (u *Unsupported) UnmarshalJSON(b []byte) error {
	u.Given = string(b) != "null"
	return nil
}

// Schema implements huma.SchemaProvider.
func (Unsupported) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "known to NetPulse, not supported by Hostler: refused unless null"}
}

// Taken is a field that tunes the inside of one of NetPulse's drivers. Scripts and
// the SDK send such fields with every request; Hostler does as well without.
type Taken struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*Taken) UnmarshalJSON([]byte) error { return nil }

// Schema implements huma.SchemaProvider.
func (Taken) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "taken, without effect"}
}

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
	KeepAlive  *float64 `json:"keepalive,omitempty" minimum:"0" maximum:"86400" doc:"taken; kept connections are probed as the worker is configured"`

	HostKeyPolicy string `json:"host_key_policy,omitempty" enum:"auto_add," doc:"host keys are pinned at first contact, always"`

	Timeout           Taken `json:"timeout,omitzero"`
	ConnTimeout       Taken `json:"conn_timeout,omitzero"`
	AuthTimeout       Taken `json:"auth_timeout,omitzero"`
	BannerTimeout     Taken `json:"banner_timeout,omitzero"`
	SessionTimeout    Taken `json:"session_timeout,omitzero"`
	GlobalDelayFactor Taken `json:"global_delay_factor,omitzero"`
	FastCLI           Taken `json:"fast_cli,omitzero"`

	KeyFilename   Unsupported `json:"key_filename,omitzero"`
	ProxyHost     Unsupported `json:"proxy_host,omitzero"`
	ProxyPort     Unsupported `json:"proxy_port,omitzero"`
	ProxyUsername Unsupported `json:"proxy_username,omitzero"`
	ProxyPassword Unsupported `json:"proxy_password,omitzero"`
	EnableMode    Unsupported `json:"enable_mode,omitzero"`
}

// unsupported lists the fields that are there and not served.
func (c Conn) unsupported() map[string]bool {
	return map[string]bool{
		"key_filename": c.KeyFilename.Given, "proxy_host": c.ProxyHost.Given, "proxy_port": c.ProxyPort.Given, "proxy_username": c.ProxyUsername.Given,
		"proxy_password": c.ProxyPassword.Given, "enable_mode": c.EnableMode.Given,
	}
}

// tells reports whether the arguments say anything about the device.
func (c Conn) tells() bool {
	c.KeepAlive, c.HostKeyPolicy = nil, ""
	return c != Conn{}
}

// over fills what a device of a bulk request leaves out from the request's own.
// Its way to log in is one thing: a device with a key does not get the password.
func (c Conn) over(base Conn) Conn {
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

// Hook is the request that is made when a job ends.
type Hook struct {
	Name    string            `json:"name,omitempty" enum:"basic,"`
	URL     string            `json:"url" minLength:"1" maxLength:"2048" writeOnly:"true"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH,GET"`
	Headers map[string]string `json:"headers,omitempty" writeOnly:"true"`
	Cookies map[string]string `json:"cookies,omitempty" writeOnly:"true"`
	Auth    []string          `json:"auth,omitempty" minItems:"2" maxItems:"2" writeOnly:"true" doc:"user and password"`
	Timeout float64           `json:"timeout,omitempty" minimum:"0.5" maximum:"120" doc:"seconds; more than 10 is 10"`
}

const hookMost = 10 * time.Second

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
		Timeout: hostler.Duration(min(time.Duration(h.Timeout*float64(time.Second)), hookMost)),
	}
}

// DriverArgs tune a driver. The published SDK sends the first three with every
// request, whatever the driver is.
type DriverArgs struct {
	ReadTimeout float64 `json:"read_timeout,omitempty" minimum:"0" maximum:"3600" doc:"seconds that each command of netmiko may take; default 60"`
	DelayFactor Taken   `json:"delay_factor,omitzero"`
	MaxLoops    Taken   `json:"max_loops,omitzero"`
}

// Common is what exec and bulk share.
type Common struct {
	Driver   string `json:"driver" minLength:"1" maxLength:"64" doc:"paramiko or netmiko"`
	Conn     *Conn  `json:"connection_args,omitempty"`
	Asset    string `json:"asset,omitempty" maxLength:"253" doc:"an asset instead of connection_args"`
	Command  Lines  `json:"command,omitempty"`
	Config   Lines  `json:"config,omitempty" doc:"excludes command"`
	Strategy string `json:"queue_strategy,omitempty" enum:"fifo,pinned" doc:"default: pinned for netmiko"`
	TTL      *int   `json:"ttl,omitempty" minimum:"1" maximum:"86400" doc:"seconds that the job may wait; default 300"`
	Timeout  *int   `json:"execution_timeout,omitempty" minimum:"1" maximum:"604800" doc:"seconds; default 300"`
	Keep     *int   `json:"result_ttl,omitempty" minimum:"1" maximum:"604800" doc:"taken; results are kept for the retention"`
	Webhook  *Hook  `json:"webhook,omitempty"`

	DriverArgs *DriverArgs `json:"driver_args,omitempty"`

	Credential   Unsupported `json:"credential,omitzero"`
	Rendering    Unsupported `json:"rendering,omitzero"`
	Parsing      Unsupported `json:"parsing,omitzero"`
	Options      Unsupported `json:"options,omitzero"`
	FileTransfer Unsupported `json:"file_transfer,omitzero"`
	Detach       Unsupported `json:"detach,omitzero"`
}

// Exec is the body of POST /device/exec.
type Exec struct{ Common }

// Device is one of a bulk request.
type Device struct {
	Conn
	Asset   string `json:"asset,omitempty" maxLength:"253"`
	Command Lines  `json:"command,omitempty"`
	Config  Lines  `json:"config,omitempty"`
}

// Bulk is the body of POST /device/bulk.
type Bulk struct {
	Common
	Devices []Device `json:"devices" minItems:"1" maxItems:"1000"`
}

// Test is the body of POST /device/test.
type Test struct {
	Driver     string      `json:"driver" minLength:"1" maxLength:"64"`
	Conn       *Conn       `json:"connection_args,omitempty"`
	Asset      string      `json:"asset,omitempty" maxLength:"253"`
	DriverArgs Unsupported `json:"driver_args,omitzero"`
	Credential Unsupported `json:"credential,omitzero"`
}

// BulkDone answers POST /device/bulk.
type BulkDone struct {
	Succeeded []BulkJob    `json:"succeeded"`
	Failed    []BulkFailed `json:"failed"`
}

// BulkJob is a job and the device that it is for, as the request named it.
type BulkJob struct {
	Job
	Host string `json:"host"`
}

// BulkFailed is a device that got no job.
type BulkFailed struct {
	Host   string `json:"host"`
	Reason string `json:"reason"`
}

// Tested answers POST /device/test.
type Tested struct {
	Success   bool           `json:"success"`
	Latency   *float64       `json:"latency" doc:"seconds"`
	Error     *string        `json:"error"`
	Result    map[string]any `json:"result"`
	Timestamp *string        `json:"timestamp"`
}

// driver is what a NetPulse driver is here.
type driver struct {
	run, test string // actions
	network   bool
}

var drivers = map[string]driver{
	"paramiko": {run: "ssh_command", test: "check_ssh"},
	"netmiko":  {run: "net_cli", test: "check_cli", network: true},
}

// faults collects the fields at fault.
type faults []hostler.FieldError

func (f *faults) add(path, en, zh string) {
	*f = append(*f, hostler.FieldError{Path: path, Text: hostler.Text{EN: en, ZH: zh}})
}

func (f *faults) refuse(prefix string, given map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] {
			f.add(prefix+name, "is known to NetPulse but not supported by Hostler", "NetPulse 支持此字段，但 Hostler 不支持")
		}
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return hostler.InvalidFields(f...)
}

func (f *faults) driver(name string) driver {
	d, ok := drivers[name]
	if !ok {
		f.add("driver", "must be one of paramiko, netmiko", "必须是以下之一：paramiko、netmiko")
	}
	return d
}

func (c Common) check(f *faults) driver {
	d := f.driver(c.Driver)
	f.refuse("", map[string]bool{
		"credential": c.Credential.Given, "rendering": c.Rendering.Given,
		"parsing": c.Parsing.Given, "options": c.Options.Given, "file_transfer": c.FileTransfer.Given, "detach": c.Detach.Given,
	})
	if c.Conn != nil {
		f.refuse("connection_args.", c.Conn.unsupported())
	}
	return d
}

// Request is what app is asked for.
func (e Exec) Request() (hostler.JobRequest, error) {
	var f faults
	d := e.check(&f)
	req := e.request(&f, d, e.Conn, e.Asset, e.Command, e.Config)
	return req, f.err()
}

func (c Common) request(f *faults, d driver, conn *Conn, asset string, command, config Lines) hostler.JobRequest {
	req := hostler.JobRequest{
		Action: d.run, Lane: hostler.LaneNone, Webhook: c.Webhook.jobWebhook(),
		TTL: seconds(c.TTL), Timeout: seconds(c.Timeout),
	}
	if c.Strategy == "pinned" || c.Strategy == "" && d.network {
		req.Lane = hostler.LaneAsset
	}
	place(f, &req, conn, asset)
	if d.network {
		config = config.split()
	}
	if (len(command) > 0) == (len(config) > 0) {
		f.add("command", "give either command or config", "command 与 config 须且只能提供一个")
	}
	args := map[string]any{"commands": command}
	switch {
	case len(config) > 0 && d.network:
		args = map[string]any{"config": config}
	case len(config) > 0:
		args = map[string]any{"commands": config}
	}
	if c.DriverArgs != nil && c.DriverArgs.ReadTimeout > 0 && d.network {
		args["timeout"] = c.DriverArgs.ReadTimeout
	}
	req.Args, _ = json.Marshal(args) // texts and a finite number always encode
	return req
}

// place says where the job works.
func place(f *faults, req *hostler.JobRequest, conn *Conn, asset string) {
	switch {
	case asset != "" && conn != nil && conn.tells():
		f.add("asset", "excludes connection_args: give one of the two", "不能与 connection_args 同时提供")
	case asset != "":
		req.Assets = []string{asset}
	case conn == nil || conn.Host == "":
		f.add("connection_args.host", "is required", "必填")
	default:
		key := conn.PrivateKey
		if key == "" {
			key = conn.PKey
		}
		req.Target = &hostler.InlineTarget{
			Address: conn.Host, Port: conn.Port, Platform: conn.DeviceType, Username: conn.Username,
			Password: conn.Password, PrivateKey: key, Passphrase: conn.Passphrase, Enable: conn.Secret,
		}
	}
}

const wait = 300 // seconds; NetPulse's default

func seconds(n *int) hostler.Duration {
	s := wait
	if n != nil {
		s = *n
	}
	return hostler.Duration(time.Duration(s) * time.Second)
}

// DeviceRequest is what app is asked for on account of one device of a bulk
// request, or why not.
type DeviceRequest struct {
	Host    string
	Request hostler.JobRequest
	Err     error
}

// Requests are what app is asked for, one by device. The error is about what they
// share.
func (b Bulk) Requests() ([]DeviceRequest, error) {
	var shared faults
	d := b.check(&shared)
	if err := shared.err(); err != nil {
		return nil, err
	}
	out := make([]DeviceRequest, len(b.Devices))
	for i, dev := range b.Devices {
		var f faults
		f.refuse("", dev.unsupported())
		conn, asset := dev.Conn, dev.Asset
		if asset == "" {
			if b.Conn != nil {
				conn = conn.over(*b.Conn)
			}
			if conn.Host == "" {
				asset = b.Asset
			}
		}
		command, config := dev.Command, dev.Config
		if len(command) == 0 && len(config) == 0 {
			command, config = b.Command, b.Config
		}
		out[i].Request = b.request(&f, d, &conn, asset, command, config)
		out[i].Host, out[i].Err = conn.Host, f.err()
		if out[i].Host == "" {
			out[i].Host = asset
		}
	}
	return out, nil
}

// TestTime bounds a test of a connection; the SDK waits for 30 seconds.
const TestTime = 25 * time.Second

// Request is what app is asked for.
func (t Test) Request() (hostler.JobRequest, error) {
	var f faults
	d := f.driver(t.Driver)
	f.refuse("", map[string]bool{"driver_args": t.DriverArgs.Given, "credential": t.Credential.Given})
	if t.Conn != nil {
		f.refuse("connection_args.", t.Conn.unsupported())
	}
	req := hostler.JobRequest{
		Action: d.test, Lane: hostler.LaneNone, Priority: hostler.PriorityFirst,
		TTL: hostler.Duration(TestTime), Timeout: hostler.Duration(TestTime),
	}
	place(&f, &req, t.Conn, t.Asset)
	return req, f.err()
}

// TestedOf is the answer for the job that tested, as it is now.
func (t Test) TestedOf(j hostler.Job, now time.Time, lang hostler.Lang) Tested {
	host := t.Asset
	if t.Conn != nil && t.Conn.Host != "" {
		host = t.Conn.Host
	}
	out := Tested{Timestamp: stamp(&now), Success: j.State == hostler.StateSucceeded, Latency: span(j.StartedAt, j.EndedAt)}
	switch {
	case out.Success:
		out.Result = map[string]any{}
		if json.Unmarshal(j.Result, &out.Result) != nil {
			out.Result = map[string]any{}
		}
		out.Result["driver"], out.Result["host"] = t.Driver, host
	case j.Error != nil:
		why := j.Error.Text.In(lang)
		out.Error = &why
	default:
		why := hostler.Text{EN: "the test did not end in time", ZH: "测试未能及时完成"}.In(lang)
		out.Error = &why
	}
	return out
}

// Renamed calls the fields of an error by the names that these calls have.
func Renamed(fields []hostler.FieldError) []hostler.FieldError {
	out := slices.Clone(fields)
	for i, f := range out {
		switch {
		case f.Path == "target.address":
			out[i].Path = "connection_args.host"
		case f.Path == "target.enable":
			out[i].Path = "connection_args.secret"
		case f.Path == "target.platform":
			out[i].Path = "connection_args.device_type"
		case strings.HasPrefix(f.Path, "target."):
			out[i].Path = "connection_args." + strings.TrimPrefix(f.Path, "target.")
		case strings.HasPrefix(f.Path, "args.commands"):
			out[i].Path = "command" + strings.TrimPrefix(f.Path, "args.commands")
		case strings.HasPrefix(f.Path, "args.config"):
			out[i].Path = "config" + strings.TrimPrefix(f.Path, "args.config")
		case f.Path == "action":
			out[i].Path = "driver"
		}
	}
	return out
}

// Link is the header that leads to the next page.
func Link(u url.URL, cursor string) []string {
	if cursor == "" {
		return nil
	}
	q := u.Query()
	q.Set("cursor", cursor)
	u.RawQuery = q.Encode()
	return []string{"<" + u.RequestURI() + `>; rel="next"`}
}

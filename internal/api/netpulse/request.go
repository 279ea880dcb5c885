package netpulse

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// driver is a driver of NetPulse in Hostler's terms.
type driver struct {
	run, test string // actions
	network   bool
}

var drivers = map[string]driver{
	"paramiko": {run: "ssh_command", test: "check_ssh"},
	"netmiko":  {run: "net_cli", test: "check_cli", network: true},
}

// findDriver returns the driver with the name.
func findDriver(f *check.Fields, name string) driver {
	check.OneOf(f, "driver", name, "paramiko", "netmiko")
	return drivers[name]
}

// refuse reports each unsupported field that is set; prefix goes before its name.
func refuse(f *check.Fields, prefix string, set map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		f.Require(!set[name], prefix+name,
			"is a field of NetPulse that Hostler does not support", "NetPulse 支持此字段，但 Hostler 不支持")
	}
}

func (c Common) check(f *check.Fields) driver {
	d := findDriver(f, c.Driver)
	refuse(f, "", map[string]bool{
		"credential": c.Credential.Given, "rendering": c.Rendering.Given, "parsing": c.Parsing.Given,
		"options": c.Options.Given, "file_transfer": c.FileTransfer.Given, "detach": c.Detach.Given,
	})
	if c.Conn != nil {
		refuse(f, "connection_args.", c.Conn.unsupported())
	}
	return d
}

// Request returns the request for the job.
func (e Exec) Request() (hostler.JobRequest, error) {
	var f check.Fields
	d := e.check(&f)
	config := d.lines(e.Config)
	req := e.request(&f, d, e.Conn, e.Asset, e.Command, config, e.args(d, e.Command, config))
	return req, f.Err()
}

// request is the request for one job; its args are those of the command or the config.
func (c Common) request(f *check.Fields, d driver, conn *Conn, asset string, command, config Lines,
	args json.RawMessage,
) hostler.JobRequest {
	req := hostler.JobRequest{
		Action: d.run, Lane: hostler.LaneNone, Webhook: c.Webhook.jobWebhook(),
		TTL: seconds(c.TTL),
	}
	if c.Timeout != nil { // else Hostler's default, which the limit of a project lowers
		req.Timeout = seconds(c.Timeout)
	}
	if c.Strategy == "pinned" || c.Strategy == "" && d.network {
		req.Lane = hostler.LaneAsset
	}
	setTarget(f, &req, conn, asset)
	if (len(command) > 0) == (len(config) > 0) {
		f.Add("command", "give either command or config", "command 与 config 须且只能提供一个")
	}
	req.Args = args
	return req
}

// lines returns the lines of a config.
func (d driver) lines(config Lines) Lines {
	if d.network {
		return config.split()
	}
	return config
}

// args encodes the args of a job.
func (c Common) args(d driver, command, config Lines) json.RawMessage {
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
	out, _ := json.Marshal(args) // texts and a finite number always encode
	return out
}

// setTarget sets the host that the job runs on.
func setTarget(f *check.Fields, req *hostler.JobRequest, conn *Conn, asset string) {
	switch {
	case asset != "" && conn != nil && conn.set():
		f.Add("asset", "excludes connection_args: give one of the two", "不能与 connection_args 同时提供")
	case asset != "":
		req.Assets = []string{asset}
	case conn == nil || conn.Host == "":
		f.Add("connection_args.host", "is required", "必填")
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

// defaultSeconds is NetPulse's default of times.
const defaultSeconds = 300

func seconds(n *int) hostler.Duration {
	s := defaultSeconds
	if n != nil {
		s = *n
	}
	return hostler.Duration(time.Duration(s) * time.Second)
}

// DeviceRequest is the request for the job of one device of a bulk request, or the
// reason why the device gets none.
type DeviceRequest struct {
	Host    string
	Request hostler.JobRequest
	Err     error
}

// Requests returns one request for each device. The error is about what the devices
// share.
func (b Bulk) Requests() ([]DeviceRequest, error) {
	var shared check.Fields
	d := b.check(&shared)
	if err := shared.Err(); err != nil {
		return nil, err
	}
	// Devices without commands of their own have the same args in memory.
	lines := d.lines(b.Config)
	common := b.args(d, b.Command, lines)
	out := make([]DeviceRequest, len(b.Devices))
	for i, dev := range b.Devices {
		var f check.Fields
		refuse(&f, "", dev.unsupported())
		conn, asset := dev.Conn, dev.Asset
		if asset == "" {
			if b.Conn != nil {
				conn = conn.withDefaults(*b.Conn)
			}
			if conn.Host == "" {
				asset = b.Asset
			}
		}
		command, config, args := b.Command, lines, common
		if len(dev.Command) > 0 || len(dev.Config) > 0 {
			command, config = dev.Command, d.lines(dev.Config)
			args = b.args(d, command, config)
		}
		out[i].Request = b.request(&f, d, &conn, asset, command, config, args)
		out[i].Host, out[i].Err = conn.Host, f.Err()
		if out[i].Host == "" {
			out[i].Host = asset
		}
	}
	return out, nil
}

// testTime bounds a test of a connection; the SDK waits for 30 seconds.
const testTime = 25 * time.Second

// Request returns the request for the job that tests.
func (t Test) Request() (hostler.JobRequest, error) {
	var f check.Fields
	d := findDriver(&f, t.Driver)
	refuse(&f, "", map[string]bool{"driver_args": t.DriverArgs.Given, "credential": t.Credential.Given})
	if t.Conn != nil {
		refuse(&f, "connection_args.", t.Conn.unsupported())
	}
	req := hostler.JobRequest{
		Action: d.test, Lane: hostler.LaneNone, Priority: hostler.PriorityFirst,
		TTL: hostler.Duration(testTime), Timeout: hostler.Duration(testTime),
	}
	setTarget(&f, &req, t.Conn, t.Asset)
	return req, f.Err()
}

// Renamed returns the fields of an error under the names that these calls have for
// them.
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

// withOwnNames names the fields of an error as the caller did.
func withOwnNames(err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return err
	}
	cp := *e
	cp.Fields = Renamed(e.Fields)
	return &cp
}

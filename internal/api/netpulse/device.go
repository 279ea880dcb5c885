package netpulse

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/wait"
)

// DriverArgs tune a driver. The published SDK sends the first three with every
// request, whatever the driver is.
type DriverArgs struct {
	ReadTimeout float64 `json:"read_timeout,omitempty" minimum:"0" maximum:"3600" doc:"seconds that each command of netmiko may take; default 60"`
	DelayFactor Ignored `json:"delay_factor,omitzero"`
	MaxLoops    Ignored `json:"max_loops,omitzero"`
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
	Keep     *int   `json:"result_ttl,omitempty" minimum:"1" maximum:"604800" doc:"accepted without effect; results are stored for the retention"`
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

// Device is one device of a bulk request.
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

// TestedOf returns the answer for the job that tested, as it is now.
func (t Test) TestedOf(j hostler.Job, now time.Time, lang hostler.Lang) Tested {
	host := t.Asset
	if t.Conn != nil && t.Conn.Host != "" {
		host = t.Conn.Host
	}
	out := Tested{
		Timestamp: stamp(&now), Success: j.State == hostler.StateSucceeded,
		Latency: span(j.StartedAt, j.EndedAt),
	}
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

func (a *api) exec(ctx context.Context, c *rest.Call, in *rest.Payload[Exec]) (Envelope[Job], error) {
	req, err := in.Body.Request()
	if err != nil {
		return Envelope[Job]{}, err
	}
	made, err := a.RunJobs(ctx, c.Caller, req, "")
	if err != nil {
		return Envelope[Job]{}, withOwnNames(err)
	}
	return Success(http.StatusCreated, JobOf(*made.Job, "", a.version, c.Lang)), nil
}

func (a *api) bulk(ctx context.Context, c *rest.Call, in *rest.Payload[Bulk]) (Envelope[BulkDone], error) {
	out := BulkDone{Succeeded: []BulkJob{}, Failed: []BulkFailed{}}
	wanted, err := in.Body.Requests()
	if err != nil {
		return Envelope[BulkDone]{}, err
	}
	fail := func(host string, err error) {
		reason := rest.NewProblem(withOwnNames(err), c.Lang, Dialect.Errors).Line()
		out.Failed = append(out.Failed, BulkFailed{Host: host, Reason: reason})
	}
	var reqs []hostler.JobRequest
	var hosts []string
	for _, d := range wanted {
		if d.Err != nil {
			fail(d.Host, d.Err)
			continue
		}
		reqs, hosts = append(reqs, d.Request), append(hosts, d.Host)
	}
	made, err := a.RunBatch(ctx, c.Caller, reqs)
	if err != nil {
		return Envelope[BulkDone]{}, err
	}
	for i, o := range made {
		if o.Err != nil {
			fail(hosts[i], o.Err)
			continue
		}
		out.Succeeded = append(out.Succeeded, BulkJob{Job: JobOf(o.Job, "", a.version, c.Lang), Host: hosts[i]})
	}
	return Success(http.StatusCreated, out), nil
}

func (a *api) test(ctx context.Context, c *rest.Call, in *rest.Payload[Test]) (Envelope[Tested], error) {
	req, err := in.Body.Request()
	if err != nil {
		return Envelope[Tested]{}, err
	}
	made, err := a.RunJobs(ctx, c.Caller, req, "")
	if err != nil {
		return Envelope[Tested]{}, withOwnNames(err)
	}
	job := a.awaitJob(ctx, c, *made.Job)
	if !job.State.Settled() {
		// Its result would not be read.
		if _, err := a.CancelJob(ctx, c.Caller, job.ID); err != nil && hostler.CodeOf(err) != hostler.CodeConflict {
			return Envelope[Tested]{}, err
		}
	}
	return Success(http.StatusOK, in.Body.TestedOf(job, time.Now(), c.Lang)), nil
}

// awaitJob returns the job as it is when it has ended, or after testTime.
func (a *api) awaitJob(ctx context.Context, c *rest.Call, job hostler.Job) hostler.Job {
	ctx, cancel := c.Hold(ctx, testTime)
	defer cancel()
	poll := wait.Backoff{First: 10 * time.Millisecond, Max: 500 * time.Millisecond, Factor: 1.5}
	for !job.State.Settled() && c.Poll(ctx, &poll) {
		now, err := a.Job(ctx, c.Caller, job.ID)
		if err != nil {
			return job
		}
		job = now
	}
	return job
}

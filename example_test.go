package hostler_test

import (
	"errors"
	"fmt"

	"hostler.dev/hostler"
)

func ExampleParseDuration() {
	for _, s := range []string{"90", "1h30m", "2d", "1d12h", "soon"} {
		d, err := hostler.ParseDuration(s)
		if err != nil {
			fmt.Println(s, "→", err)
			continue
		}
		fmt.Println(s, "→", d)
	}
	// Output:
	// 90 → 1m30s
	// 1h30m → 1h30m0s
	// 2d → 48h0m0s
	// 1d12h → 36h0m0s
	// soon → not a duration; write it like 90s, 10m, 1h30m or 2d
}

// Each kind of id is a type of its own, and its text form names the kind.
func ExampleID() {
	job := hostler.JobID(hostler.MakeID(1_800_000_000, 1))
	fmt.Println(job, hostler.IDTime(int64(job)))

	var asset hostler.AssetID
	fmt.Println(asset.UnmarshalText([]byte(job.String())))
	// Output:
	// job_3b979000001 2027-01-15 08:00:00 +0000 UTC
	// not an id of the form ast_ + 11 digits of base 32
}

// A wait for a job ends in a settled state; only a terminal one is final.
func ExampleState_Settled() {
	for _, s := range []hostler.State{hostler.StateRunning, hostler.StateUnknown, hostler.StateFailed} {
		fmt.Println(s, s.Settled(), s.Terminal())
	}
	// Output:
	// running false false
	// unknown true false
	// failed true true
}

// Errors have a code for programs, a text in both languages for people, and name the
// fields at fault.
func ExampleError() {
	err := fmt.Errorf("create: %w", hostler.Invalid("args.port", "must be at most %d", "不能大于 %d", 65535))

	fmt.Println(hostler.CodeOf(err), hostler.CodeOf(err).HTTPStatus())
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		for _, f := range e.Fields {
			fmt.Println(f.Path, f.Text.In(hostler.LangEN), f.Text.In(hostler.LangZH))
		}
	}
	// Output:
	// invalid 422
	// args.port must be at most 65535 不能大于 65535
}

func ExampleMaskURL() {
	fmt.Println(hostler.MaskURL("https://ops:pw@ops.example.com/in?key=1"))
	fmt.Println(hostler.MaskURL("https://hooks.slack.com/services/T1/B2/secret"))
	// Output:
	// https://ops.example.com/in?***
	// https://hooks.slack.com/services/T1/B2/***
}

// A pattern selects types of event: one type, all of an object, or all.
func ExampleEventType_Matches() {
	fmt.Println(hostler.EventJobFailed.Matches("job.failed"))
	fmt.Println(hostler.EventJobFailed.Matches("job.*"))
	fmt.Println(hostler.EventJobFailed.Matches("webhook.*"))
	// Output:
	// true
	// true
	// false
}

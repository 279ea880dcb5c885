package rest

import (
	"encoding"
	"errors"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
)

// form is the text form of a type of the glossary, as a pattern: with one, the
// validation names the field, and the OpenAPI document describes it.
type form struct {
	pattern     string
	description string       // in the document
	rule        hostler.Text // the error
}

// forms are the types with a text form.
var forms = map[reflect.Type]form{
	reflect.TypeFor[hostler.JobID]():      idForm("job"),
	reflect.TypeFor[hostler.RunID]():      idForm("run"),
	reflect.TypeFor[hostler.KeyID]():      idForm("key"),
	reflect.TypeFor[hostler.HostKeyID]():  idForm("hky"),
	reflect.TypeFor[hostler.WorkerID]():   idForm("wrk"),
	reflect.TypeFor[hostler.WebhookID]():  idForm("whk"),
	reflect.TypeFor[hostler.ChannelID]():  idForm("chn"),
	reflect.TypeFor[hostler.DeliveryID](): idForm("dlv"),
	reflect.TypeFor[hostler.ArtefactID](): idForm("art"),
	reflect.TypeFor[hostler.ApprovalID](): idForm("apv"),
	reflect.TypeFor[hostler.HoldID]():     idForm("hld"),
	reflect.TypeFor[hostler.Duration](): {
		pattern:     `^ *([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h|d)?)+ *$`,
		description: "a duration like 90s, 10m, 1h30m or 2d",
		rule: hostler.Text{
			EN: "must be a duration like 90s, 10m, 1h30m or 2d",
			ZH: "必须是 90s、10m、1h30m 或 2d 形式的时长",
		},
	},
	reflect.TypeFor[Position](): {
		pattern:     "^[0-9]{1,19}$",
		description: "a position: a whole number",
		rule:        textPosition,
	},
}

var textPosition = hostler.Text{
	EN: "must be a position: a whole number from 0",
	ZH: "必须是位置：不小于 0 的整数",
}

func idForm(prefix string) form {
	example := prefix + "_01m8x4c7t2q"
	return form{
		pattern:     "^" + prefix + "_[0-9a-hjkmnp-tv-z]{11}$",
		description: "an id like " + example,
		rule:        hostler.Textf("must be an id like %s", "必须是 %s 形式的 ID", example),
	}
}

// textOfForm returns the rule of the form with the description.
func textOfForm(description string) hostler.Text {
	for _, f := range forms {
		if f.description == description {
			return f.rule
		}
	}
	return textWrongForm
}

// textForm replaces a T in the schema of a type that contains one.
type textForm[T any] struct{}

// Schema implements huma.SchemaProvider.
func (textForm[T]) Schema(huma.Registry) *huma.Schema {
	f := forms[reflect.TypeFor[T]()]
	return &huma.Schema{Type: huma.TypeString, Pattern: f.pattern, PatternDescription: f.description}
}

// registerForms describes the types of forms to Huma, which would show their
// underlying numbers.
func registerForms(r huma.Registry) {
	register[hostler.JobID](r)
	register[hostler.RunID](r)
	register[hostler.KeyID](r)
	register[hostler.HostKeyID](r)
	register[hostler.WorkerID](r)
	register[hostler.WebhookID](r)
	register[hostler.ChannelID](r)
	register[hostler.DeliveryID](r)
	register[hostler.ArtefactID](r)
	register[hostler.ApprovalID](r)
	register[hostler.HoldID](r)
	register[hostler.Duration](r)
	r.RegisterTypeAlias(reflect.TypeFor[hostler.Amount](), reflect.TypeFor[amountForm]())
}

// amountForm replaces [hostler.Amount], which is a number or a text and checks itself.
type amountForm struct{}

// Schema implements huma.SchemaProvider.
func (amountForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: `a number, or a part of the whole such as "25%"`}
}

func register[T any](r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[T](), reflect.TypeFor[textForm[T]]())
}

// Param is a path or query parameter of type T that is a number in Go but a text in
// URLs, such as an id.
type Param[T any, P textParam[T]] struct{ V T }

type textParam[T any] interface {
	*T
	encoding.TextUnmarshaler
}

type (
	// JobID is the id of a job.
	JobID = Param[hostler.JobID, *hostler.JobID]
	// RunID is the id of a run.
	RunID = Param[hostler.RunID, *hostler.RunID]
	// WorkerID is the id of a worker.
	WorkerID = Param[hostler.WorkerID, *hostler.WorkerID]
	// KeyID is the id of an API key.
	KeyID = Param[hostler.KeyID, *hostler.KeyID]
	// HostKeyID is the id of an SSH host key.
	HostKeyID = Param[hostler.HostKeyID, *hostler.HostKeyID]
	// ArtefactID is the id of an artefact.
	ArtefactID = Param[hostler.ArtefactID, *hostler.ArtefactID]
	// DeliveryID is the id of a delivery.
	DeliveryID = Param[hostler.DeliveryID, *hostler.DeliveryID]
	// ApprovalID is the id of an approval.
	ApprovalID = Param[hostler.ApprovalID, *hostler.ApprovalID]
	// HoldID is the id of a hold.
	HoldID = Param[hostler.HoldID, *hostler.HoldID]
	// Duration is a span such as 30s.
	Duration = Param[hostler.Duration, *hostler.Duration]
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Param[T, P]) UnmarshalText(b []byte) error {
	err := P(&p.V).UnmarshalText(b)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return textError(e.Text)
	}
	return err
}

// Schema implements huma.SchemaProvider.
func (p *Param[T, P]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), false, "")
}

// Position is a position in a stream from which a reader resumes, if the request
// names one.
type Position struct {
	Pos   int64
	Given bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return textError(textPosition)
	}
	*p = Position{int64(n), true}
	return nil
}

// Schema implements huma.SchemaProvider.
func (*Position) Schema(r huma.Registry) *huma.Schema { return textForm[Position]{}.Schema(r) }

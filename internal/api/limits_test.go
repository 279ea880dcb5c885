package api_test

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hostler.dev/hostler"
)

// TestLimitsAgree compares the limits in the tags of the wire types, which the OpenAPI
// document shows and Huma enforces, with those that the use cases enforce. A use case
// accepts a value at the limit of a tag and refuses one beyond it; otherwise a client
// that follows the document is refused, or the two limits differ.
func TestLimitsAgree(t *testing.T) {
	w := newEnv(t)
	ctx, c := t.Context(), w.caller(t, admin)
	password := hostler.CredentialInput{Name: "c", Kind: "password", Password: "p"}
	hook := hostler.WebhookInput{Name: "h", URL: "https://ops.example.com/in", Filter: &hostler.WebhookFilter{}}
	job := hostler.JobRequest{
		Action: "noop", Concurrency: &hostler.Concurrency{Key: "k", Limit: 1},
		Target:  &hostler.InlineTarget{Address: "h", Username: "u"},
		Webhook: &hostler.JobWebhook{URL: "https://ops.example.com/in"},
	}
	w.mustDo(t, admin, "POST", "/api/v1/webhooks", `{"name":"rotated","url":"https://ops.example.com/in"}`, nil)

	compareLimits(t, hostler.ProjectInput{Name: "p"}, func(in hostler.ProjectInput) error {
		_, err := w.app.CreateProject(ctx, c, in)
		return err
	})
	compareLimits(t, hostler.UserInput{Name: "u"}, func(in hostler.UserInput) error {
		_, err := w.app.CreateUser(ctx, c, in)
		return err
	})
	compareLimits(t, hostler.KeyInput{Name: "k"}, func(in hostler.KeyInput) error {
		_, err := w.app.CreateKey(ctx, c, in)
		return err
	})
	compareLimits(t, hostler.AssetInput{Name: "a", Address: "h"}, func(in hostler.AssetInput) error {
		_, err := w.app.CreateAsset(ctx, c, in)
		return err
	})
	compareLimits(t, password, func(in hostler.CredentialInput) error {
		_, err := w.app.CreateCredential(ctx, c, in)
		return err
	})
	compareLimits(t, hostler.QueueLimits{}, func(in hostler.QueueLimits) error {
		_, err := w.app.PutQueue(ctx, c, "q", in)
		return err
	})
	compareLimits(t, hostler.ProjectChange{}, func(in hostler.ProjectChange) error {
		_, err := w.app.ChangeProject(ctx, c, "default", in)
		return err
	})
	compareLimits(t, hostler.LaneRelease{}, func(in hostler.LaneRelease) error {
		_, err := w.app.ReleaseLane(ctx, c, "absent", in)
		return err
	})
	compareLimits(t, job, func(in hostler.JobRequest) error {
		_, err := w.app.RunJobs(ctx, c, in, "")
		return err
	})
	compareLimits(t, hostler.ResolveInput{State: "failed"}, func(in hostler.ResolveInput) error {
		_, err := w.app.ResolveJob(ctx, c, 1, in)
		return err
	})
	compareLimits(t, hostler.BulkRequest{IDs: []hostler.JobID{1}, State: "failed"}, func(in hostler.BulkRequest) error {
		_, err := w.app.ResolveJobs(ctx, c, in)
		return err
	})
	compareLimits(t, hook, func(in hostler.WebhookInput) error {
		_, err := w.app.CreateWebhook(ctx, c, in)
		return err
	})
	compareLimits(t, hostler.WebhookRotation{}, func(in hostler.WebhookRotation) error {
		_, err := w.app.RotateWebhook(ctx, c, "rotated", in)
		return err
	})
	compareLimits(t, hostler.DeliverySelection{IDs: []hostler.DeliveryID{1}}, func(in hostler.DeliverySelection) error {
		_, err := w.app.ResendDeliveries(ctx, c, in)
		return err
	})
}

// references are fields that name another object. Its existence is the rule: a name
// that is too long belongs to no object.
var references = []string{"action", "credential", "jump", "project", "user"}

// compareLimits sets each field of the valid input, and of the structs in it, to
// values at and beyond its limits.
func compareLimits[T any](t *testing.T, valid T, use func(T) error) {
	t.Helper()
	name := reflect.TypeFor[T]().Name()
	t.Run(name, func(t *testing.T) {
		eachField(reflect.TypeFor[T](), nil, "", func(index []int, path string, f reflect.StructField) {
			if _, err := reflect.ValueOf(valid).FieldByIndexErr(index); err != nil {
				return // of a struct that the valid input leaves out
			}
			try := func(v reflect.Value) (faults []string, refused bool) {
				in := deepCopy(valid)
				reflect.ValueOf(&in).Elem().FieldByIndex(index).Set(v)
				err := use(in)
				return faultsAt(err, path), err != nil
			}
			for what, limit := range limitsOf(f, path) {
				at, _ := try(limit.at)
				beyond, refused := try(limit.beyond)
				isNew := slices.ContainsFunc(beyond, func(s string) bool { return !slices.Contains(at, s) })
				switch {
				case !refused:
					t.Errorf("%s: the use case accepts a value beyond the tag's %s", path, what)
				case !isNew && !slices.Contains(references, path):
					t.Errorf("%s: at the tag's %s: %q; beyond it: %q; want another fault beyond it", path, what, at, beyond)
				}
			}
		})
	})
}

// eachField visits the fields with a JSON name, and those of the structs in them.
func eachField(t reflect.Type, index []int, path string, visit func([]int, string, reflect.StructField)) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(slices.Clone(index), f.Index...)
		visit(at, path+name, f)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == reflect.TypeFor[hostler.Job]().PkgPath() {
			eachField(inner, at, path+name+".", visit)
		}
	}
}

// limit is a pair of values of a field.
type limit struct{ at, beyond reflect.Value }

// limitsOf returns the limits in a field's tags by the name of the tag.
func limitsOf(f reflect.StructField, path string) map[string]limit {
	limits := map[string]limit{}
	number := func(tag string) (int, bool) {
		n, err := strconv.Atoi(f.Tag.Get(tag))
		return n, err == nil
	}
	text := func(n int) reflect.Value { return valueOf(f.Type, reflect.ValueOf(textOfLength(path, n))) }
	items := func(n int) reflect.Value { return sliceOf(f.Type, n) }
	whole := func(n int) reflect.Value { return valueOf(f.Type, reflect.ValueOf(n)) }
	if n, ok := number("maxLength"); ok {
		limits["maxLength"] = limit{text(n), text(n + 1)}
	}
	if n, ok := number("minLength"); ok {
		limits["minLength"] = limit{text(n), text(n - 1)}
	}
	if n, ok := number("maxItems"); ok {
		limits["maxItems"] = limit{items(n), items(n + 1)}
	}
	if n, ok := number("maximum"); ok {
		limits["maximum"] = limit{whole(n), whole(n + 1)}
	}
	if n, ok := number("minimum"); ok {
		limits["minimum"] = limit{whole(n), whole(n - 1)}
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		for v := range strings.SplitSeq(enum, ",") {
			limits["enum "+v] = limit{valueOf(f.Type, reflect.ValueOf(v)), valueOf(f.Type, reflect.ValueOf("nonsense"))}
		}
	}
	return limits
}

// valueOf converts a value to the type of a field, which may be a pointer.
func valueOf(t reflect.Type, v reflect.Value) reflect.Value {
	if t.Kind() != reflect.Pointer {
		return v.Convert(t)
	}
	p := reflect.New(t.Elem())
	p.Elem().Set(v.Convert(t.Elem()))
	return p
}

func sliceOf(t reflect.Type, n int) reflect.Value {
	if t.Kind() == reflect.Pointer {
		return valueOf(t, sliceOf(t.Elem(), n))
	}
	s := reflect.MakeSlice(t, n, n)
	for i := range n {
		switch t.Elem().Kind() {
		case reflect.String:
			s.Index(i).SetString("x")
		case reflect.Struct:
		default:
			s.Index(i).SetInt(int64(i + 1))
		}
	}
	return s
}

// textOfLength returns a text of n characters that only its length can make invalid.
func textOfLength(path string, n int) string {
	switch {
	case n == 0:
		return ""
	case strings.HasSuffix(path, "address"):
		return strings.Repeat("a.", (n-1)/2) + strings.Repeat("a", 2-n%2)
	case strings.HasSuffix(path, "url") && n > 30:
		return "https://ops.example.com/" + strings.Repeat("x", n-len("https://ops.example.com/"))
	default:
		return strings.Repeat("x", n)
	}
}

// faultsAt returns the texts of the faults of a field and its items.
func faultsAt(err error, path string) []string {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return nil
	}
	var texts []string
	for _, f := range e.Fields {
		if f.Path == path || strings.HasPrefix(f.Path, path+"[") {
			texts = append(texts, f.Text.EN)
		}
	}
	return texts
}

// deepCopy copies an input with the structs that it points to.
func deepCopy[T any](v T) T {
	out := reflect.New(reflect.TypeFor[T]()).Elem()
	out.Set(reflect.ValueOf(v))
	for _, f := range out.Fields() {
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			cp := reflect.New(f.Type().Elem())
			cp.Elem().Set(f.Elem())
			f.Set(cp)
		}
	}
	return out.Interface().(T)
}

package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

func TestAddresses(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		tests := []struct{ in, want string }{
			{"web1", "web1"},
			{"WEB1.Example.COM", "web1.example.com"},
			{"a_b.example.", "a_b.example"},
			{"192.0.2.1", "192.0.2.1"},
			{"2001:DB8:0::1", "2001:db8::1"},
			{"::ffff:192.0.2.1", "192.0.2.1"}, // the same host: one lane, one host key
			{"fe80::1%eth0", "fe80::1%eth0"},
			{"fe80::1%a b", ""},
			{"fe80::1%\x00", ""},
			{"-oProxyCommand=id", ""},
			{"a.-b", ""},
			{"a b", ""},
			{"a\nb", ""},
			{"user@host", ""},
			{"host/..", ""},
			{"host:22", ""},
			{"$(id)", ""},
			{"主机", ""},
			{"a..b", ""},
			{".", ""},
			{"", ""},
			{strings.Repeat("a", 64), ""},
			{strings.Repeat("a.", 127) + "com", ""},
		}
		for i, tt := range tests {
			a, err := w.CreateAsset(
				t.Context(),
				w.operator,
				hostler.AssetInput{Name: fmt.Sprintf("h%d", i), Address: tt.in},
			)
			if tt.want == "" {
				if diff := cmp.Diff([]string{"address"}, paths(err)); diff != "" {
					t.Errorf("%q (-want +got):\n%s", tt.in, diff)
				}
				continue
			}
			if err != nil || a.Address != tt.want || a.DeviceKey != tt.want {
				t.Errorf("%q became %q, device key %q: %v; want %q", tt.in, a.Address, a.DeviceKey, err, tt.want)
			}
		}
	})
}

func TestAssetFields(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		many := map[string]string{}
		for i := range 65 {
			many[fmt.Sprintf("k%d", i)] = "v"
		}
		_, err := w.CreateAsset(t.Context(), w.operator, hostler.AssetInput{
			Name: "-x", Address: "ok", Port: 70000, Kind: "odd", Platform: "a\x00", Labels: many, HostKey: "none",
			Vars: map[string]string{
				"bad key": "v",
				"nul":     "\x00",
			}, DeviceKey: "a\u202eb", Credential: "nope", Jump: "nope",
		})
		want := strings.Fields("name port kind platform labels host_key vars.bad&key vars.nul device_key")
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "&", " ")
		}
		got := paths(err)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		_, err = w.CreateAsset(
			t.Context(),
			w.operator,
			hostler.AssetInput{Name: "web1", Address: "ok", Credential: "nope", Jump: "nope"},
		)
		if diff := cmp.Diff([]string{"credential", "jump"}, paths(err)); diff != "" {
			t.Errorf("references (-want +got):\n%s", diff)
		}
		_, err = w.CreateAsset(
			t.Context(),
			w.operator,
			hostler.AssetInput{Name: hostler.AssetID(5).String(), Address: "ok"},
		)
		if diff := cmp.Diff([]string{"name"}, paths(err)); diff != "" {
			t.Errorf("a name like an id (-want +got):\n%s", diff)
		}
	})
}

func TestAssetIsReadAsWritten(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.password(t, "pw", "x")
		w.asset(t, hostler.AssetInput{Name: "door"})
		in := hostler.AssetInput{
			Name: "核心-1", Address: "192.0.2.1", Port: 2222, Kind: "device", Platform: "huawei_vrp",
			Labels: map[string]string{"role": "core", "site/rack": "a 7"}, Vars: map[string]string{"enable": "行\n2"},
			Credential: "pw", DeviceKey: "core-1", HostKey: "strict", Jump: "door",
		}
		made := must(w.CreateAsset(ctx, w.admin, in))(t)
		want := hostler.Asset{
			ID: made.ID, Project: "default", Name: in.Name, Address: in.Address, Port: 2222, Kind: "device", Platform: in.Platform,
			Labels: in.Labels, Vars: in.Vars, Credential: "pw", DeviceKey: "core-1", HostKey: "strict", Jump: "door",
			CreatedAt: w.h.Now(), UpdatedAt: w.h.Now(),
		}
		for _, ref := range []string{in.Name, made.ID.String()} {
			if diff := cmp.Diff(want, must(w.Asset(ctx, w.viewer, ref))(t)); diff != "" {
				t.Errorf("by %s (-want +got):\n%s", ref, diff)
			}
		}
		_, err := w.CreateAsset(ctx, w.operator, hostler.AssetInput{Name: in.Name, Address: "x"})
		wantCode(t, err, hostler.CodeConflict)
		_, err = w.PutAsset(ctx, w.operator, "door", hostler.AssetInput{Name: in.Name, Address: "x"})
		wantCode(t, err, hostler.CodeConflict)
		// Names are the project's own.
		must(w.CreateAsset(ctx, w.stranger, hostler.AssetInput{Name: in.Name, Address: "x"}))(t)
		_, err = w.CreateAsset(
			ctx,
			w.stranger,
			hostler.AssetInput{Name: "y", Address: "y", Credential: "pw", Jump: "door"},
		)
		if diff := cmp.Diff([]string{"credential", "jump"}, paths(err)); diff != "" {
			t.Errorf("foreign references (-want +got):\n%s", diff)
		}
	})
}

func TestAssetPages(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		for i := range 7 {
			w.asset(
				t,
				hostler.AssetInput{
					Name:   fmt.Sprintf("h%d", i),
					Labels: map[string]string{"odd": fmt.Sprint(i%2 == 1)},
				},
			)
		}
		for _, tt := range []struct {
			labels string
			want   string
		}{
			{"", "h0 h1 h2 h3 h4 h5 h6"},
			{"odd=true", "h1 h3 h5"},
			{"odd!=true", "h0 h2 h4 h6"},
			{"odd", "h0 h1 h2 h3 h4 h5 h6"},
			{"odd=true,odd=false", "h0 h1 h2 h3 h4 h5 h6"},
			{"odd=true,x=y", ""},
			{"odd notin (true),!x", "h0 h2 h4 h6"},
		} {
			var got []string
			p := hostler.Page{Limit: 2}
			for {
				l := must(w.Assets(t.Context(), w.viewer, tt.labels, p))(t)
				for _, a := range l.Items {
					got = append(got, a.Name)
				}
				if p.Cursor = l.Next; p.Cursor == "" {
					break
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%v (-want +got):\n%s", tt.labels, diff)
			}
		}
	})
}

// TestANewAddressGetsNoCredentialUnasked: who changes where an asset is must name
// the credential that may be sent there.
func TestANewAddressGetsNoCredentialUnasked(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.password(t, "pw", "x")
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", Credential: "pw"})
		if a := must(w.PutAsset(ctx, w.operator, "web1", hostler.AssetInput{Name: "web1", Address: "192.0.2.66"}))(t); a.Credential != "" {
			t.Errorf("the credential %q went along to the new address", a.Credential)
		}
		named := hostler.AssetInput{Name: "web1", Address: "192.0.2.66", Credential: "pw"}
		_, err := w.PutAsset(ctx, w.operator, "web1", named)
		wantCode(t, err, hostler.CodeForbidden)
		if a := must(w.PutAsset(ctx, w.admin, "web1", named))(t); a.Credential != "pw" {
			t.Errorf("bound to %q", a.Credential)
		}
	})
}

func TestDeviceKeyFollowsTheAddressUnlessSet(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		job := w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}}).Jobs[0]
		put := func(address, key, want string) {
			t.Helper()
			a := must(
				w.PutAsset(
					ctx,
					w.operator,
					"web1",
					hostler.AssetInput{Name: "web1", Address: address, DeviceKey: key},
				),
			)(t)
			if a.DeviceKey != want {
				t.Errorf("device key %q, want %q", a.DeviceKey, want)
			}
			if j := must(w.Job(ctx, w.viewer, job))(t); j.Lane != want {
				t.Errorf("the waiting job is in the lane %q, want %q", j.Lane, want)
			}
			w.checkInvariants(t)
		}
		put("192.0.2.2", "192.0.2.1", "192.0.2.2") // as a client sends back what it read
		put("192.0.2.3", "", "192.0.2.3")
		put("192.0.2.3", "core", "core")
		put("192.0.2.4", "core", "core")
	})
}

func (w *env) checkInvariants(t *testing.T) {
	t.Helper()
	var broken []string
	w.tx(t, func(tx *store.Tx) (err error) {
		broken, err = tx.CheckInvariants()
		return err
	})
	if len(broken) > 0 {
		t.Errorf("invariants: %q", broken)
	}
}

func TestJumpHosts(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "j0"})
		for i := 1; i <= 5; i++ {
			w.asset(t, hostler.AssetInput{Name: fmt.Sprintf("j%d", i), Jump: fmt.Sprintf("j%d", i-1)})
		}
		_, err := w.CreateAsset(ctx, w.operator, hostler.AssetInput{Name: "far", Address: "far", Jump: "j5"})
		if diff := cmp.Diff([]string{"jump"}, paths(err)); diff != "" {
			t.Errorf("six jump hosts (-want +got):\n%s", diff)
		}
		for _, last := range []string{"j0", "j2"} {
			_, err = w.PutAsset(ctx, w.operator, "j0", hostler.AssetInput{Name: "j0", Address: "x", Jump: last})
			if diff := cmp.Diff([]string{"jump"}, paths(err)); diff != "" {
				t.Errorf("a loop by %s (-want +got):\n%s", last, diff)
			}
		}
		_, err = w.DeleteAsset(ctx, w.operator, "j4")
		wantCode(t, err, hostler.CodeConflict)
		must(w.DeleteAsset(ctx, w.operator, "j5"))(t)
		_, err = w.Asset(ctx, w.viewer, "j5")
		wantCode(t, err, hostler.CodeNotFound)
	})
}

func TestCredentials(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		made := w.password(t, "pw", "one")
		if made.Version != 1 || made.Kind != "password" || made.Username != "root" {
			t.Errorf("made %+v", made)
		}
		w.asset(t, hostler.AssetInput{Name: "web1", Credential: "pw"})
		changed := must(w.PutCredential(ctx, w.admin, "pw", hostler.CredentialInput{Kind: "token", Token: "two"}))(t)
		if changed.Version != 2 || changed.ID != made.ID || changed.Kind != "token" {
			t.Errorf("changed %+v", changed)
		}
		_, err := w.PutCredential(
			ctx,
			w.admin,
			"pw",
			hostler.CredentialInput{Name: "other", Kind: "token", Token: "x"},
		)
		wantCode(t, err, hostler.CodeInvalid)
		wantCode(t, w.DeleteCredential(ctx, w.admin, "pw"), hostler.CodeConflict)
		must(w.DeleteAsset(ctx, w.admin, "web1"))(t)
		if err := w.DeleteCredential(ctx, w.admin, "pw"); err != nil {
			t.Error(err)
		}
		for _, in := range []hostler.CredentialInput{
			{Name: "c", Kind: "password"},
			{Name: "c", Kind: "odd", Password: "x"},
			{Name: "", Kind: "password", Password: "x"},
			{Name: "c", Kind: "password", Password: "x", Token: "y"},
			{Name: "c", Kind: "ssh_key", PrivateKey: "-----BEGIN"},
		} {
			_, err := w.CreateCredential(ctx, w.admin, in)
			wantCode(t, err, hostler.CodeInvalid)
		}
	})
}

func TestLeasesCarryWhatTheJobNeeds(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.password(t, "pw", "secret-1")
		w.password(t, "sudo", "secret-2")
		w.allow(t, "sudo", hostler.CredentialRuleInput{
			Uses: []string{hostler.UseSudo}, Addresses: []string{"10.0.0.0/8", "192.0.2.1"},
		})
		door := w.asset(t, hostler.AssetInput{Name: "door", Address: "192.0.2.1", Credential: "pw"})
		behind := w.asset(
			t,
			hostler.AssetInput{
				Name:       "behind",
				Address:    "10.0.0.1",
				Port:       2222,
				Jump:       "door",
				Credential: "pw",
				Vars:       map[string]string{"a": "b"},
			},
		)
		w.asset(t, hostler.AssetInput{Name: "gone"})
		if err := w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: door.ID}, offer(t, 1)); err != nil {
			t.Fatal(err)
		}
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"behind"}, Args: []byte(`{"sudo":"sudo"}`)})
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"gone"}})
		w.run(t, hostler.JobRequest{Action: "ping"})
		must(w.DeleteAsset(ctx, w.operator, "gone"))(t)
		leases := w.worker(t).lease(t, 10)
		if len(leases) != 3 {
			t.Fatalf("%d leases", len(leases))
		}
		if err := w.resolver.Leases(ctx, refs(leases)); err != nil {
			t.Fatal(err)
		}
		a := leases[0].Asset
		if a == nil || a.ID != behind.ID || a.Port != 2222 || a.Vars["a"] != "b" ||
			a.Credential.Secret.Password != "secret-1" ||
			a.Credential.Version != 1 {
			t.Fatalf("asset %+v", a)
		}
		if a.Jump == nil || a.Jump.Name != "door" || len(a.Jump.HostKeys) != 1 ||
			a.Jump.HostKeys[0].State != hostler.HostKeyPinned ||
			a.Jump.Credential == nil ||
			a.Jump.Jump != nil {
			t.Errorf("jump host %+v", a.Jump)
		}
		if got := leases[0].Credentials["sudo"].Secret.Password; got != "secret-2" {
			t.Errorf("sudo password %q", got)
		}
		if !leases[1].AssetMissing || leases[1].Asset != nil {
			t.Errorf("the lease of a deleted asset: %+v", leases[1])
		}
		if leases[2].AssetMissing || leases[2].Asset != nil || leases[2].Credentials != nil {
			t.Errorf("the lease without asset: %+v", leases[2])
		}
	})
}

package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

const adhocAddress = "192.0.2.7"

// onHost is a job of an ad-hoc host, as the use cases make it.
func onHost(project hostler.ProjectID, address string, port int) hostler.JobSpec {
	return job(inLane("device:"+address), func(s *hostler.JobSpec) {
		s.Project, s.AssetName = project, address
		s.Target = &hostler.JobTarget{
			Address: address, Port: port,
			Seal: func(_ hostler.ProjectID, id hostler.JobID) ([]byte, error) { return []byte(id.String()), nil },
		}
	})
}

// projects creates projects.
func (f *fixture) projects(names ...string) []hostler.ProjectID {
	f.t.Helper()
	ids := make([]hostler.ProjectID, len(names))
	f.tx(func(tx *store.Tx) error {
		for i, name := range names {
			p, err := tx.InsertProject(name)
			if err != nil {
				return err
			}
			ids[i] = p.ID
		}
		return nil
	})
	return ids
}

// assetAt creates an asset.
func (f *fixture) assetAt(project hostler.ProjectID, name, address string, port int, device string) store.AssetRow {
	f.t.Helper()
	a := store.AssetRow{ProjectID: project, Asset: hostler.Asset{
		Name: name, Address: address, Port: port, Kind: "host", DeviceKey: device, HostKey: hostler.HostKeyStrict,
	}}
	f.tx(func(tx *store.Tx) (err error) {
		a.ID, err = tx.InsertAsset(a)
		return err
	})
	return a
}

// laneOf returns the key of the lane that a job is in, and the one that people see.
func (f *fixture) laneOf(id hostler.JobID) (key, shown string) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		return tx.Each(`SELECT l.key, j.lane_key FROM job j JOIN lane l ON l.id = j.lane WHERE j.id = ?`, []any{id},
			func(r sqldb.Rows) error { return r.Scan(&key, &shown) })
	})
	return key, shown
}

// TestManyAssetsSayWhichDevices creates many assets at once, some of them at addresses of
// ad-hoc hosts with live jobs.
func TestManyAssetsSayWhichDevices(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.projects("p")[0]
		var jobs []hostler.JobID
		assets := make([]store.AssetRow, 200)
		for i := range assets {
			address := fmt.Sprintf("h%03d", i)
			assets[i] = store.AssetRow{ProjectID: p, Asset: hostler.Asset{
				Name: address, Address: address, Kind: "host", DeviceKey: "d" + address, HostKey: hostler.HostKeyStrict,
			}}
			if i%50 == 49 {
				jobs = append(jobs, f.enqueue(onHost(p, address, 22), onHost(p, address+"x", 22))...)
			}
		}
		f.tx(func(tx *store.Tx) error { return tx.InsertAssets(p, assets) })
		var lanes []string
		for _, id := range jobs {
			key, _ := f.laneOf(id)
			lanes = append(lanes, key)
		}
		want := []string{
			"device:dh049", "device:h049x", "device:dh099", "device:h099x",
			"device:dh149", "device:h149x", "device:dh199", "device:h199x",
		}
		if !slices.Equal(lanes, want) {
			t.Errorf("the jobs are in %v, want %v", lanes, want)
		}
		f.wantInvariants()
	})
}

// TestDeviceOfAnAdhocHost checks which of the assets at the address of an ad-hoc host says
// which device that is, both for a new job and for one that was there before the assets.
func TestDeviceOfAnAdhocHost(t *testing.T) {
	type at struct {
		project int // 0 is that of the job
		port    int
		device  string
	}
	cases := []struct {
		name   string
		assets []at
		port   int
		want   string // "" for the address
	}{
		{"no asset", nil, 22, ""},
		{"an asset", []at{{0, 0, "r1"}}, 22, "r1"},
		{"the default port", []at{{0, 2222, "r1"}, {0, 22, "r2"}}, 0, "r2"},
		{"another port", []at{{0, 830, "r1"}}, 22, "r1"},
		{"the same port", []at{{0, 22, "r1"}, {0, 2201, "r2"}, {0, 2202, "r3"}}, 2202, "r3"},
		{"an asset of another project", []at{{1, 0, "r1"}}, 22, "r1"},
		{"its own project comes first", []at{{1, 22, "x"}, {0, 2201, "r1"}}, 22, "r1"},
		{"the oldest of several", []at{{1, 22, "r1"}, {2, 22, "x"}, {1, 22, "y"}}, 22, "r1"},
		{"the port counts before the age", []at{{1, 23, "x"}, {2, 22, "r1"}}, 0, "r1"},
	}
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.projects("p", "q", "r")
		bystander := f.enqueue(onHost(p[0], adhocAddress, 22))[0]
		for i, c := range cases {
			address := fmt.Sprintf("198.51.100.%d", i)
			before := f.enqueue(onHost(p[0], address, c.port))[0]
			for n, a := range c.assets {
				f.assetAt(p[a.project], fmt.Sprintf("a%d-%d", i, n), address, a.port, a.device)
			}
			after := f.enqueue(onHost(p[0], address, c.port))[0]
			for _, id := range []hostler.JobID{before, after} {
				key, shown := f.laneOf(id)
				if key != "device:"+cmp.Or(c.want, address) || shown != "device:"+address {
					t.Errorf("%s: the job is in lane %s, shown as %s, want %s", c.name, key, shown, c.want)
				}
			}
		}
		if key, _ := f.laneOf(bystander); key != "device:"+adhocAddress {
			t.Errorf("the job of another host is in lane %s", key)
		}
		f.wantInvariants()
	})
}

// TestAdhocJobsFollowAssets changes the asset at the address of an ad-hoc host in every
// way while a job of the host runs: no job of the asset starts beside it, before and after.
func TestAdhocJobsFollowAssets(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.projects("p", "q")
		first := f.enqueue(onHost(p[0], adhocAddress, 22))[0]
		lease := f.claim(f.worker, 10)
		if len(lease) != 1 || lease[0].Job != first {
			t.Fatalf("%d jobs run", len(lease))
		}
		waiting := f.enqueue(onHost(p[0], adhocAddress, 22))[0]
		idle := func(what, device string) {
			t.Helper()
			f.wantInvariants()
			undo := errors.New("undo")
			err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.Enqueue([]hostler.JobSpec{job(inLane("device:" + device))}); err != nil {
					return err
				}
				if c, err := tx.Claim(f.worker, 10); err != nil || len(c.Leases) > 0 {
					t.Errorf("%s: %d jobs start beside a running one, %v", what, len(c.Leases), err)
				}
				return undo
			})
			if !errors.Is(err, undo) {
				t.Fatal(err)
			}
			if key, _ := f.laneOf(waiting); key != "device:"+device {
				t.Fatalf("%s: the waiting job is in %s", what, key)
			}
		}
		a := f.assetAt(p[1], "core1", adhocAddress, 0, "r1")
		idle("created", "r1")
		a.DeviceKey = "r2"
		f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
		idle("another key", "r2")
		a.Address = "192.0.2.99"
		f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
		idle("moved away", adhocAddress)
		a.Address = adhocAddress
		f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
		idle("moved back", "r2")
		b := f.assetAt(p[1], "core2", adhocAddress, 2222, "r3")
		idle("another port", "r2")
		a.Port, b.Port = 2201, 22
		f.tx(func(tx *store.Tx) error { return tx.UpdateAssets(p[1], []store.AssetRow{a, b}) })
		idle("the ports changed", "r3")
		f.tx(func(tx *store.Tx) error { return tx.DeleteAsset(p[1], b.ID) })
		idle("deleted", "r2")
		f.tx(func(tx *store.Tx) error {
			return tx.InsertAssets(p[0], []store.AssetRow{{
				ProjectID: p[0], Asset: hostler.Asset{
					Name: "own", Address: adhocAddress, Kind: "host", DeviceKey: "r4", HostKey: hostler.HostKeyStrict,
				},
			}})
		})
		idle("imported", "r4")
		if err := f.finish(f.worker, lease[0], hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.wantInvariants()
		if _, shown := f.laneOf(waiting); shown != "device:"+adhocAddress {
			t.Errorf("people see the lane %s", shown)
		}
	})
}

// TestForeignDeviceKeyIsNotShown checks that a job of an ad-hoc host does not tell the
// device key of another project's asset.
func TestForeignDeviceKeyIsNotShown(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.projects("p", "q")
		f.assetAt(p[1], "core1", adhocAddress, 0, "vault-7")
		f.enqueue(job(inLane("device:vault-7"), func(s *hostler.JobSpec) { s.Project = p[1] }))
		id := f.enqueue(onHost(p[0], adhocAddress, 0))[0]
		f.tx(func(tx *store.Tx) error {
			j, err := tx.Job(p[0], id)
			if err != nil {
				return err
			}
			why, err := tx.Explain(id, p[0])
			if err != nil || len(why) != 1 {
				t.Fatalf("the job waits for %v, %v", why, err)
			}
			if j.Lane != adhocAddress || why[0].Lane != adhocAddress || strings.Contains(why[0].Text.EN, "vault") {
				t.Errorf("the job is in %q and waits for %+v", j.Lane, why[0])
			}
			return nil
		})
	})
}

// TestManyAdhocJobsFollowInSteps changes the device of an ad-hoc host that has more jobs
// than one step moves, again and again before they have moved.
func TestManyAdhocJobsFollowInSteps(t *testing.T) {
	defer store.SetRelaneStep(20)()
	eachFixture(t, func(t *testing.T, f *fixture) {
		p := f.projects("p", "q")
		var want []hostler.JobID
		for i := range 100 {
			want = append(want, f.enqueue(onHost(p[0], adhocAddress, 22+i%2))...)
		}
		running := f.claim(f.worker, 10)
		if len(running) != 1 || running[0].Job != want[0] {
			t.Fatalf("%d jobs run on one device", len(running))
		}
		a := f.assetAt(p[1], "a", adhocAddress, 0, "r1")
		onAsset := func(device string) hostler.JobID {
			return f.enqueue(job(inLane("device:"+device), func(s *hostler.JobSpec) { s.Project, s.Asset = p[1], a.ID }))[0]
		}
		step := func() (more bool) {
			f.wantInvariants()
			if got := f.claim(f.worker, 10); len(got) > 0 {
				t.Fatalf("job %v started beside %v", got[0].Job, running[0].Job)
			}
			f.tx(func(tx *store.Tx) (err error) {
				more, err = tx.FollowRelanes()
				return err
			})
			return more
		}
		want = append(want, onAsset("r1"))
		for _, device := range []string{"r2", "r3", "r2"} {
			step()
			a.DeviceKey = device
			f.tx(func(tx *store.Tx) error { return tx.UpdateAsset(a) })
			want = append(want, onAsset(device))
			step()
			want = append(want, f.enqueue(onHost(p[0], adhocAddress, 23))...)
		}
		for step() {
		}
		f.wantInvariants()
		for _, id := range want[1:] {
			if got := f.claim(f.worker, 10); len(got) > 0 {
				t.Fatalf("job %v started beside %v", got[0].Job, running[0].Job)
			}
			if err := f.finish(f.worker, running[0], hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
			if running = f.claim(f.worker, 10); len(running) != 1 || running[0].Job != id {
				t.Fatalf("%d jobs run after %v, want %v", len(running), id, id)
			}
		}
		f.wantInvariants()
	})
}

// TestAdhocJobRacingAsset creates a job of an ad-hoc host while an asset at its address is
// being created: the job ends up in the lane of the asset, whoever commits first.
func TestAdhocJobRacingAsset(t *testing.T) {
	for name, jobFirst := range map[string]bool{"the job": true, "the asset": false} {
		t.Run(name, func(t *testing.T) {
			eachFixture(t, func(t *testing.T, f *fixture) {
				p := f.projects("p", "q")
				a := store.AssetRow{ProjectID: p[1], Asset: hostler.Asset{
					Name: "a", Address: adhocAddress, Kind: "host", DeviceKey: "r1", HostKey: hostler.HostKeyStrict,
				}}
				create := func(tx *store.Tx) error {
					_, err := tx.InsertAsset(a)
					return err
				}
				enqueue := func(tx *store.Tx) error {
					_, err := tx.Enqueue([]hostler.JobSpec{onHost(p[0], adhocAddress, 0)})
					return err
				}
				one, other := create, enqueue
				if jobFirst {
					one, other = enqueue, create
				}
				var ended <-chan error
				f.tx(func(tx *store.Tx) error {
					if err := one(tx); err != nil {
						return err
					}
					if err := tx.MoveJobs(); err != nil {
						return err
					}
					ended = f.meanwhile(other)
					return nil
				})
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				f.wantInvariants()
			})
		})
	}
}

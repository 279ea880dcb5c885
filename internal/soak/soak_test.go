package soak_test

import (
	"testing"
	"time"

	"hostler.dev/hostler/internal/soak"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// TestSoak runs both stores for a few seconds: jobs are made, run and delivered while the
// clock is stepped by hours. bench/soak runs it for an hour, long enough for sizes.
func TestSoak(t *testing.T) {
	for _, db := range []string{"", storetest.Postgres(t)} {
		name := "sqlite"
		if db != "" {
			name = "postgres"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := soak.Run(t.Context(), soak.Options{
				DB: db, Rate: 40, Duration: 6 * time.Second, Day: 24 * time.Second, Every: time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Samples) == 0 {
				t.Fatal("no samples")
			}
			last := res.Samples[len(res.Samples)-1]
			if last.Made == 0 || last.Ended == 0 || last.Sent == 0 || last.Rows["done"] == 0 || last.Rows["idem"] == 0 {
				t.Errorf("the last sample is %+v, want jobs that were made, ended and delivered", last)
			}
		})
	}
}

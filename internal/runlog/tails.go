package runlog

import "sync/atomic"

// leastTail is how much of the end of an output is kept in any case.
const leastTail = 256 << 10

// Tails bounds the memory of the tails of many Logs, which are held until their jobs
// end. A nil Tails is without a bound.
type Tails struct {
	most int64
	used atomic.Int64
}

// NewTails returns a bound of most bytes.
func NewTails(most int64) *Tails { return &Tails{most: most} }

// limit returns how large a tail may become whose own limit is own and which has held
// bytes now.
func (t *Tails) limit(own, held int) int {
	if t == nil || t.used.Load() < t.most {
		return own
	}
	return min(own, max(held, leastTail))
}

func (t *Tails) add(n int) {
	if t != nil {
		t.used.Add(int64(n))
	}
}

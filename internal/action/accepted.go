package action

import (
	"encoding/json"
	"hash/maphash"
	"sync"
)

// accepted remembers args that an action has accepted, by a hash of 128 bits: a server
// checks the args of a job when it is created, and a worker in the same process checks
// them again before it starts. Only args that are accepted are remembered, and a new entry
// replaces an older one with a similar hash.
type accepted struct {
	seeds [2]maphash.Seed
	mu    sync.Mutex
	args  [4096][2]uint64
}

func newAccepted() *accepted {
	return &accepted{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (a *accepted) key(action string, args json.RawMessage) (k [2]uint64) {
	for i, seed := range a.seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.WriteString(action) // never fails
		_ = h.WriteByte(0)
		_, _ = h.Write(args)
		k[i] = h.Sum64()
	}
	return k
}

func (a *accepted) has(k [2]uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.args[k[0]%uint64(len(a.args))] == k
}

func (a *accepted) add(k [2]uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.args[k[0]%uint64(len(a.args))] = k
}

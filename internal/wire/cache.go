package wire

import "hash/maphash"

// cache keeps one copy of the strings that come again and again: the agent, the
// data type and the kind of frame after frame. It is of fixed size: a string
// pushes out another that falls into the same slot.
type cache struct {
	seed  maphash.Seed
	slots []string
}

func newCache(size int) cache {
	return cache{seed: maphash.MakeSeed(), slots: make([]string, size)}
}

// get returns b as a string, allocating one only if the slot holds another.
func (c *cache) get(b []byte) string {
	slot := &c.slots[maphash.Bytes(c.seed, b)%uint64(len(c.slots))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

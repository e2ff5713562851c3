package schemas

import (
	"encoding/binary"
	"unicode/utf8"
)

// decoder walks over Avro bytes. Every count is held against the bytes that
// are left: each item takes at least one.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) long() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n int64) []byte {
	if n < 0 || n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// text takes a string.
func (d *decoder) text() []byte {
	b := d.take(d.long())
	if !utf8.Valid(b) {
		d.bad = true
	}
	return b
}

func (d *decoder) string() string { return string(d.text()) }

func (d *decoder) optional() string {
	if d.present() {
		return d.string()
	}
	return ""
}

// present reads which branch of ["null", X] follows.
func (d *decoder) present() bool {
	switch d.long() {
	case 0:
	case 1:
		return true
	default:
		d.bad = true
	}
	return false
}

func (d *decoder) record(r *record) {
	for i := range r.fields {
		if d.value(r.fields[i].node); d.bad {
			return
		}
	}
}

func (d *decoder) value(n *node) {
	if n.optional && !d.present() {
		return
	}
	switch n.kind {
	case kindBoolean:
		if b := d.take(1); len(b) == 1 && b[0] > 1 {
			d.bad = true
		}
	case kindInt:
		if v := d.long(); v != int64(int32(v)) {
			d.bad = true
		}
	case kindLong:
		d.long()
	case kindFloat:
		d.take(4)
	case kindDouble:
		d.take(8)
	case kindString:
		d.text()
	case kindBytes:
		d.take(d.long())
	case kindFixed:
		d.take(int64(n.size))
	case kindEnum:
		if v := d.long(); v < 0 || v >= int64(len(n.symbols)) {
			d.bad = true
		}
	case kindRecord:
		d.record(n.rec)
	case kindArray, kindMap:
		d.blocks(n)
	}
}

// blocks walks over an array or a map. A negative count is followed by the
// size of its block in bytes. A key that comes twice is a fault, as it is to
// goavro: which value counts would hang on who reads.
func (d *decoder) blocks(n *node) {
	var keys map[string]struct{}
	if n.kind == kindMap {
		keys = make(map[string]struct{})
	}
	for !d.bad {
		count := d.long()
		if count == 0 {
			return
		}
		end := int64(-1)
		if count < 0 {
			count = -count
			size := d.long()
			if end = int64(len(d.b)) - size; size < 0 || end < 0 {
				d.bad = true
			}
		}
		if count < 0 || count > int64(len(d.b)) {
			d.bad = true
		}
		for ; count > 0 && !d.bad; count-- {
			if n.kind == kindMap {
				key := d.string()
				if _, twice := keys[key]; twice {
					d.bad = true
				}
				keys[key] = struct{}{}
			}
			d.value(n.elem)
		}
		if end >= 0 && int64(len(d.b)) != end {
			d.bad = true
		}
	}
}

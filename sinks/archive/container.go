package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
)

// The form of an object container file, Avro 1.11: the magic bytes, a map of
// metadata and a marker; then blocks, each the count of its records, the size of
// its data, the data, and the marker again.
const magic = "Obj\x01"

// maxBlock is the most bytes that a block of a file that is read may have, in the
// file and unpacked.
const maxBlock = 1 << 30

type marker [16]byte

// header is what a file says of its blocks.
type header struct {
	schema, codec string
	sync          marker
}

func (h *header) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.AppendVarint(dst, 2)
	for _, s := range []string{"avro.schema", h.schema, "avro.codec", h.codec} {
		dst = binary.AppendVarint(dst, int64(len(s)))
		dst = append(dst, s...)
	}
	dst = append(dst, 0)
	return append(dst, h.sync[:]...)
}

// appendBlock appends a block of count records to dst.
func (h *header) appendBlock(dst []byte, count int, data []byte) ([]byte, error) {
	packed, err := codecs[h.codec].pack(data)
	if err != nil {
		return nil, fmt.Errorf("compress block: %w", err)
	}
	dst = binary.AppendVarint(dst, int64(count))
	dst = binary.AppendVarint(dst, int64(len(packed)))
	dst = append(dst, packed...)
	return append(dst, h.sync[:]...), nil
}

// codec packs and unpacks the data of blocks.
type codec struct {
	pack   func([]byte) ([]byte, error)
	unpack func([]byte) ([]byte, error)
}

var codecs = map[string]codec{
	"null": {
		pack:   func(b []byte) ([]byte, error) { return b, nil },
		unpack: func(b []byte) ([]byte, error) { return b, nil },
	},
	"deflate": {
		pack: func(b []byte) ([]byte, error) {
			var out bytes.Buffer
			w, err := flate.NewWriter(&out, 5)
			if err == nil {
				_, err = w.Write(b)
			}
			if err == nil {
				err = w.Close()
			}
			return out.Bytes(), err
		},
		unpack: func(b []byte) ([]byte, error) {
			return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxBlock))
		},
	},
	"snappy": {
		pack: func(b []byte) ([]byte, error) {
			return binary.BigEndian.AppendUint32(snappy.Encode(nil, b), crc32.ChecksumIEEE(b)), nil
		},
		unpack: func(b []byte) ([]byte, error) {
			if len(b) < 4 {
				return nil, io.ErrUnexpectedEOF
			}
			packed, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
			if n, err := snappy.DecodedLen(packed); err != nil || n > maxBlock {
				return nil, errors.New("snappy: no length")
			}
			out, err := snappy.Decode(nil, packed)
			if err == nil && crc32.ChecksumIEEE(out) != sum {
				err = errors.New("snappy: checksum does not match")
			}
			return out, err
		},
	},
}

// contents is what was found in a file.
type contents struct {
	header
	// whole is the size up to the last whole block; 0 if the header is not whole.
	whole int64
	// damaged says that something stands behind whole that is not the rest of one
	// block that was being written.
	damaged bool
}

// readContents reads a file of size bytes and gives the ID of every record in
// its whole blocks to each. The error is that of reading, never one about what
// was read.
func readContents(f io.ReaderAt, size int64, each func(id []byte)) (contents, error) {
	var c contents
	r := &counter{r: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 64<<10)}
	h, err := readHeader(r, size)
	switch {
	case errors.Is(err, errForm):
		return c, nil
	case err != nil:
		return c, err
	}
	c.header, c.whole = h, r.n
	s, err := compile(h.schema)
	unpack := codecs[h.codec].unpack
	if err != nil || unpack == nil {
		c.damaged = true
		return c, nil
	}
	var buf []byte
	for c.whole < size {
		var count int64
		count, buf, err = readBlock(r, size, h.sync, buf)
		if err == nil {
			err = eachID(s, unpack, count, buf, each)
		}
		if errors.Is(err, errForm) {
			c.damaged, err = followed(f, c.whole, size, h.sync)
			return c, err
		}
		if err != nil {
			return c, err
		}
		c.whole = r.n
	}
	return c, nil
}

// errForm says that what was read is not what stands in such a file.
var errForm = errors.New("not whole")

// counter counts the bytes that were read.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (c *counter) full(b []byte) error {
	n, err := io.ReadFull(c.r, b)
	c.n += int64(n)
	return form(err)
}

// bytes reads n bytes of a file of size.
func (c *counter) bytes(n, size int64) ([]byte, error) {
	if n < 0 || n > size-c.n || n > maxBlock {
		return nil, errForm
	}
	b := make([]byte, n)
	return b, c.full(b)
}

func (c *counter) text(size int64) (string, error) {
	n, err := c.long()
	if err != nil {
		return "", err
	}
	b, err := c.bytes(n, size)
	return string(b), err
}

// long reads a number, byte by byte so that an error of reading stays apart from
// one of the form.
func (c *counter) long() (int64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := c.ReadByte()
		if err != nil {
			return 0, form(err)
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(v>>1) ^ -int64(v&1), nil
		}
	}
	return 0, errForm
}

// form makes of an early end an error about the form.
func form(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errForm
	}
	return err
}

func readHeader(r *counter, size int64) (header, error) {
	h := header{codec: "null"}
	start, err := r.bytes(int64(len(magic)), size)
	if err != nil {
		return h, err
	}
	if string(start) != magic {
		return h, errForm
	}
	for {
		n, err := r.long()
		if err == nil && n < 0 {
			n = -n
			_, err = r.long()
		}
		if err != nil {
			return h, err
		}
		if n == 0 {
			break
		}
		for ; n > 0; n-- {
			key, err := r.text(size)
			if err != nil {
				return h, err
			}
			value, err := r.text(size)
			if err != nil {
				return h, err
			}
			switch key {
			case "avro.schema":
				h.schema = value
			case "avro.codec":
				h.codec = value
			}
		}
	}
	sync, err := r.bytes(int64(len(h.sync)), size)
	copy(h.sync[:], sync)
	return h, err
}

// readBlock reads a block into buf, which it may replace.
func readBlock(r *counter, size int64, sync marker, buf []byte) (count int64, data []byte, err error) {
	count, err = r.long()
	if err != nil {
		return 0, buf, err
	}
	n, err := r.long()
	if err != nil {
		return 0, buf, err
	}
	if count <= 0 || n < 0 || n > maxBlock || n > size-r.n-int64(len(sync)) {
		return 0, buf, errForm
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := r.full(buf); err != nil {
		return 0, buf, err
	}
	end, err := r.bytes(int64(len(sync)), size)
	if err == nil && !bytes.Equal(end, sync[:]) {
		err = errForm
	}
	return count, buf, err
}

// eachID gives the IDs of a block to each, after it has seen that the block is
// whole.
func eachID(s *shape, unpack func([]byte) ([]byte, error), count int64, packed []byte, each func([]byte)) error {
	data, err := unpack(packed)
	if err != nil {
		return errForm
	}
	var ids [][]byte
	for ; count > 0; count-- {
		id, rest, ok := s.record(data)
		if !ok {
			return errForm
		}
		ids, data = append(ids, id), rest
	}
	if len(data) > 0 {
		return errForm
	}
	for _, id := range ids {
		each(id)
	}
	return nil
}

// followed reports whether a marker stands somewhere from from on but not at the
// end: then what is there is more than one block that was not finished.
func followed(f io.ReaderAt, from, size int64, sync marker) (bool, error) {
	buf := make([]byte, 1<<20)
	for at := from; at < size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if i := bytes.Index(buf[:n], sync[:]); i >= 0 {
			return at+int64(i+len(sync)) < size, nil
		}
		if n < len(buf) {
			break
		}
		// A marker may lie across two reads.
		at += int64(n - len(sync) + 1)
	}
	return false, nil
}

package websocket

import (
	"errors"
	"testing"

	"sluice/internal/wire"
	"sluice/message"
)

func FuzzHello(f *testing.F) {
	f.Add(false, []byte(`{"hello":{"session":"s","next":1}}`))
	f.Add(false, []byte(`{"hello":{"session":"s","next":1e1}}`))
	f.Add(false, []byte(`{"hi":1}`))
	f.Add(true, []byte("\x81\xa5hello\x82\xa7session\xa1s\xa4next\x01"))
	f.Add(true, []byte("\x81\xa5hello\xdf\xff\xff\xff\xff"))
	f.Add(true, []byte("\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, packed bool, b []byte) {
		format := wire.JSON
		if packed {
			format = wire.Msgpack
		}
		h, err := parseHello(format, b)
		if err != nil {
			if h != (hello{}) {
				t.Errorf("got %+v and the error %v", h, err)
			}
			if errors.Is(err, errNoHello) && wire.Check(format, b, wire.DefaultLimits) != nil {
				t.Error("took bytes that are not of the format for another control message")
			}
			return
		}
		if !message.ValidName(h.session) || h.next < 1 || h.next > maxNext {
			t.Errorf("got %+v", h)
		}
	})
}

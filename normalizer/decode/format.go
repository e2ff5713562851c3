package decode

import "sluice/internal/wire"

// Format is how the body of an Item is encoded. It and what follows are those of
// the internal package wire, under names that a module outside can use too.
type Format = wire.Format

// The formats of a body.
const (
	JSON    = wire.JSON
	Msgpack = wire.Msgpack
)

// Check reports, as a *message.Fault, why bytes from outside are not one value in
// the format, or break a limit: nested deeper than 32, more than 20,000 values,
// lengths past the end, text that is not UTF-8, a name twice, a number that is
// not finite. A decoder calls it before anything else looks at such bytes.
func Check(f Format, b []byte) error { return wire.Check(f, b, wire.DefaultLimits) }

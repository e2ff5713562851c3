package wire

// Limits bounds the structure of one frame.
type Limits struct {
	// Depth is how many objects and arrays may stand in one another.
	Depth int
	// Nodes is how many values a frame may hold, over all its lines: objects,
	// arrays and scalars, without the names of members.
	Nodes int
}

// DefaultLimits is far above what agents send, and low enough that a frame of
// 1 MiB decodes into little memory.
var DefaultLimits = Limits{Depth: 32, Nodes: 20_000}

package message

// The headers of records. An agent sets none of their names.
const (
	// HeaderID is the frame ID in ingest, the message ID everywhere else.
	HeaderID = "id"
	// HeaderProtocol, HeaderContentType, HeaderConnection, HeaderNetwork and
	// HeaderGenesis are the fields of a Frame.
	HeaderProtocol    = "protocol"
	HeaderContentType = "content-type"
	HeaderConnection  = "connection"
	HeaderNetwork     = "network"
	HeaderGenesis     = "genesis"

	// HeaderSrc is the Source of a message, HeaderIndex and HeaderCount its
	// place in the frame, in decimal.
	HeaderSrc   = "src"
	HeaderIndex = "index"
	HeaderCount = "count"

	// The headers of dead letters. The first group has the names that Kafka
	// Connect gives its own, so that tools made for those read ours.
	HeaderErrorTopic     = "__connect.errors.topic"
	HeaderErrorPartition = "__connect.errors.partition"
	HeaderErrorOffset    = "__connect.errors.offset"
	HeaderErrorStage     = "__connect.errors.stage"
	HeaderErrorClass     = "__connect.errors.exception.class.name"
	HeaderErrorMessage   = "__connect.errors.exception.message"
	HeaderErrorCode      = "err.code"
	HeaderErrorField     = "err.field"
	HeaderAgent          = "agent"
	HeaderAttempts       = "attempts"
)

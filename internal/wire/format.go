package wire

import "mime"

// Format is how a frame is encoded.
type Format uint8

// The formats. The zero Format is none of them.
const (
	JSON    Format = iota + 1
	Msgpack        // MessagePack, https://github.com/msgpack/msgpack/blob/master/spec.md
	NDJSON         // one JSON value a line, empty lines ignored
)

// Content types as the gateway writes them into the content-type header.
const (
	TypeJSON    = "application/json"
	TypeMsgpack = "application/msgpack"
	TypeNDJSON  = "application/x-ndjson"
)

// FormatOf returns the format that a content type names, whatever parameters
// follow it, and false for one that sluice does not read.
func FormatOf(contentType string) (Format, bool) {
	switch contentType {
	case TypeJSON:
		return JSON, true
	case TypeMsgpack:
		return Msgpack, true
	case TypeNDJSON:
		return NDJSON, true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, false
	}
	switch media {
	case TypeJSON:
		return JSON, true
	case TypeMsgpack, "application/x-msgpack", "application/vnd.msgpack":
		return Msgpack, true
	case TypeNDJSON, "application/ndjson", "application/jsonlines", "application/jsonl":
		return NDJSON, true
	}
	return 0, false
}

// ContentType returns the content type that f is written under.
func (f Format) ContentType() string {
	switch f {
	case JSON:
		return TypeJSON
	case Msgpack:
		return TypeMsgpack
	case NDJSON:
		return TypeNDJSON
	}
	return ""
}

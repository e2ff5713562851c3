package message

import "slices"

import "strings"

// The topics that are not of one data type.
const (
	TopicIngest      = "sluice.ingest"
	TopicDeadLetters = "sluice.dead_letters"
	TopicSchemas     = "sluice.schemas"
	TopicAgents      = "sluice.agents"
	TopicControl     = "sluice.control"

	topicPrefix = "sluice."
)

// Reserved lists the names that no data type may have: they are topics already.
var Reserved = []string{"ingest", "dead_letters", "schemas", "agents", "control"}

// Topic returns the name of the topic of a data type.
func Topic(dataType string) string { return topicPrefix + dataType }

// TypeOf returns the data type of a typed topic.
func TypeOf(topic string) string { return strings.TrimPrefix(topic, topicPrefix) }

// ValidType reports whether s can name a data type: [a-z][a-z0-9_]{0,63} and
// not reserved.
func ValidType(s string) bool {
	if len(s) == 0 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return !slices.Contains(Reserved, s)
}

// MaxName is the longest name of an agent, a node, a session or an idempotency
// key, in bytes.
const MaxName = 128

// ValidName reports whether s can name an agent or a session: 1 to MaxName
// bytes of letters, digits and . _ : @ -, the first a letter or a digit. A name
// has no slash: the slash parts the pieces of a frame ID.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == ':' || c == '@' || c == '-'):
		default:
			return false
		}
	}
	return true
}

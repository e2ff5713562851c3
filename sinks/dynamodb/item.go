package dynamodb

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/message"
)

// The attributes of an item. A user's queries name them: they never change.
const (
	attrPK         = "pk"
	attrSK         = "sk"
	attrID         = "id"
	attrAgent      = "agent"
	attrNode       = "node"
	attrNetwork    = "network"
	attrGenesis    = "genesis"
	attrType       = "type"
	attrKind       = "kind"
	attrEventTime  = "event_time"
	attrObservedAt = "observed_at"
	attrReceivedAt = "received_at"
	attrSrc        = "src"
	attrIndex      = "index"
	attrBody       = "body"
	attrExpires    = "expires"
	// attrVersion is of latest items only: what orders them.
	attrVersion = "version"
)

// The limits that DynamoDB documents, in bytes.
const (
	maxItem = 400 << 10
	maxPK   = 2048
	maxSK   = 1024
	// maxMillis is the last event time that the 13 digits of a sort key hold.
	maxMillis = 9_999_999_999_999
)

type item = map[string]types.AttributeValue

// key is the primary key of an item.
type key struct{ pk, sk string }

// row is a message of a batch as an item.
type row struct {
	index int // in the batch
	m     *message.Message
	key   key
	item  item
	// size is what DynamoDB counts, wire what the item takes in a request; both
	// in bytes and rather too large than too small.
	size, wire int
}

// refusal says why a row can never be written.
type refusal struct {
	row    *row
	code   message.Code
	reason string
}

// rowOf returns the item of the history that a message is, or why there can be
// none.
func (s *Sink) rowOf(index int, m *message.Message) (*row, *refusal) {
	r := &row{index: index, m: m}
	event := m.EventTime().UnixMilli()
	if event < 0 || event > maxMillis {
		return nil, &refusal{r, message.CodeTime, fmt.Sprintf("no sort key for an event time of %d ms", event)}
	}
	body, err := mapOf("body", m.Body)
	if err != nil {
		return nil, &refusal{r, err.Code, err.Error()}
	}
	r.key = key{m.Agent + "#" + m.Type, fmt.Sprintf("%013d#%s", event, m.ID)}
	r.item = item{
		attrPK:         text(r.key.pk),
		attrSK:         text(r.key.sk),
		attrID:         text(m.ID),
		attrAgent:      text(m.Agent),
		attrNode:       text(m.Node),
		attrType:       text(m.Type),
		attrKind:       text(m.Kind),
		attrEventTime:  integer(event),
		attrReceivedAt: integer(m.ReceivedAt.UnixMilli()),
		attrSrc:        text(fmt.Sprintf("%d-%d", m.Src.Partition, m.Src.Offset)),
		attrIndex:      integer(int64(m.Index)),
		attrBody:       body,
	}
	if !m.ObservedAt.IsZero() {
		r.item[attrObservedAt] = integer(m.ObservedAt.UnixMilli())
	}
	if m.Network != "" {
		r.item[attrNetwork] = text(m.Network)
	}
	if m.Genesis != "" {
		r.item[attrGenesis] = text(m.Genesis)
	}
	if s.config.TTL > 0 {
		r.item[attrExpires] = integer(m.EventTime().Add(s.config.TTL).Unix())
	}
	r.size, r.wire = measure(r.item)

	size, sk := r.size, len(r.key.sk)
	if s.config.Latest {
		// Nobody is to find a message in the history that its latest item does
		// not fit: such a message is refused as a whole.
		latest := latestKey(m)
		size += len(attrVersion) + len(version(m)) + max(0, len(latest.sk)-len(r.key.sk))
		sk = max(sk, len(latest.sk))
	}
	switch {
	case len(r.key.pk) > maxPK:
		return nil, &refusal{r, message.CodeTooLarge, fmt.Sprintf("a partition key of %d bytes, DynamoDB takes %d", len(r.key.pk), maxPK)}
	case sk > maxSK:
		return nil, &refusal{r, message.CodeTooLarge, fmt.Sprintf("a sort key of %d bytes, DynamoDB takes %d", sk, maxSK)}
	case size > maxItem:
		return nil, &refusal{r, message.CodeTooLarge, fmt.Sprintf("an item of about %d bytes, DynamoDB takes %d", size, maxItem)}
	}
	return r, nil
}

// latestKey returns the key of the latest item that a message may become. No
// sort key of the history begins like it: those begin with digits.
func latestKey(m *message.Message) key {
	return key{m.Agent + "#" + m.Type, "latest#" + m.Node + "#" + m.Kind}
}

// latestOf returns the row of the latest item for the message of r. It does not
// expire: a node that says something once, when it starts, still runs later.
func latestOf(r *row) *row {
	l := &row{index: r.index, m: r.m, key: latestKey(r.m), item: maps.Clone(r.item)}
	delete(l.item, attrExpires)
	l.item[attrSK] = text(l.key.sk)
	l.item[attrVersion] = text(version(r.m))
	return l
}

// version returns text that orders messages as message.Message.Supersedes does:
// by event time, place in ingest and index, each as digits of a fixed width.
func version(m *message.Message) string {
	return fmt.Sprintf("%013d#%010d#%019d#%010d", m.EventTime().UnixMilli(), m.Src.Partition, m.Src.Offset, m.Index)
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func integer(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// millis returns t in milliseconds since 1970, with the microseconds, if it has
// any, behind a point.
func millis(t time.Time) string {
	micro := t.UnixMicro()
	if micro%1000 == 0 {
		return strconv.FormatInt(micro/1000, 10)
	}
	sign := ""
	if micro < 0 {
		sign, micro = "-", -micro
	}
	return fmt.Sprintf("%s%d.%03d", sign, micro/1000, micro%1000)
}

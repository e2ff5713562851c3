// Package decode holds one decoder per protocol: pure functions from a frame to
// its items.
//
// A decoder knows how its protocol packs messages into a frame and nothing of
// schemas, clocks or Kafka: the same frame always yields the same items, so that
// a frame read again gives its messages the same IDs. The place of an item among
// those of its frame is its index.
//
//	message.Frame ──Decoder──► [ Item{Type, Kind, Body} | Item{Fault} … ] ──► schema
//
// Each index is an item, with a body or with a fault. An error, always a
// *message.Fault, is for a frame that cannot be taken apart at all.
package decode
